// Headers of safetensors files: what they say, and malformed ones.
#include "lib/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <string>

#include "lib/support/error.h"
#include "tests/child_process.h"
#include "tests/lib/checkpoint/tiny_checkpoint.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_of;
using testing::safetensors_bytes;
using testing::safetensors_of;
using ::testing::StartsWith;
using testing::write_file;

std::vector<SafetensorsEntry> parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file)), "file");
}

TEST(Safetensors, EntriesByName) {
  const std::string file =
      safetensors_of({{"b", "F32", {2, 3}, std::string(24, 'b')},
                      {"a", "BF16", {4}, std::string(8, 'a')}});
  const auto entries = parse(file);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_EQ(entries[0].type, DataType::kBfloat16);
  EXPECT_EQ(file.substr(entries[0].offset, entries[0].size), "aaaaaaaa");
  EXPECT_EQ(entries[1].name, "b");
  EXPECT_THAT(entries[1].shape, ElementsAre(2, 3));
  EXPECT_EQ(entries[1].size, 24u);
  EXPECT_EQ(file[entries[1].offset], 'b');
}

TEST(Safetensors, ScalarsAndEmptyTensorsAreLegal) {
  const auto entries = parse(safetensors_of({{"empty", "F32", {0, 7}, ""},
                                             {"scalar", "F64", {}, "12345678"},
                                             {"zero", "I8", {0}, ""}}));
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].size, 0u);
  EXPECT_THAT(entries[1].shape, IsEmpty());
  EXPECT_EQ(entries[1].size, 8u);
  EXPECT_THAT(parse(safetensors_bytes("{}", "")), IsEmpty());
  EXPECT_THAT(parse(safetensors_bytes("{}   ", "")), IsEmpty());
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string file =
      safetensors_of({{"w", "F32", {2}, std::string(8, '\0')},
                      {"v", "F16", {3}, std::string(6, '\0')}});
  ASSERT_NO_THROW(parse(file));
  for (size_t length = 0; length < file.size(); ++length) {
    const std::string message =
        message_of<InputError>([&] { parse(file.substr(0, length)); });
    EXPECT_THAT(message, StartsWith("file")) << "cut to " << length;
    EXPECT_THAT(message, HasSubstr("expected ")) << "cut to " << length;
  }
}

TEST(Safetensors, EveryFlippedBitIsReadOrRefused) {
  const std::string file =
      safetensors_of({{"w", "F32", {2}, std::string(8, '\0')},
                      {"v", "F16", {3}, std::string(6, '\0')}});
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    std::string damaged = file;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    try {
      uint64_t bytes = 0;
      for (const auto& entry : parse(damaged)) bytes += entry.size;
      EXPECT_EQ(bytes, 14u);
    } catch (const InputError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 8 * 100u);
}

struct Malformed {
  std::string name;
  std::string file;
  std::string place;  // after the file's name
  std::string expected;
  std::string found;
};

std::ostream& operator<<(std::ostream& out, const Malformed& c) {
  return out << c.name;
}

class SafetensorsRefused : public ::testing::TestWithParam<Malformed> {};

TEST_P(SafetensorsRefused, NamesPlaceExpectedAndFound) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path path = folder / "w.safetensors";
  write_file(path, GetParam().file);
  const auto start = std::chrono::steady_clock::now();
  const std::string message =
      message_of<InputError>([&] { SafetensorsFile{path}; });
  const std::chrono::duration<double> time =
      std::chrono::steady_clock::now() - start;
  EXPECT_THAT(message, StartsWith(path.string() + GetParam().place + ": "));
  EXPECT_THAT(message, HasSubstr("expected " + GetParam().expected));
  EXPECT_THAT(message, HasSubstr("found " + GetParam().found));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(time.count(), 2.0);
}

std::string prefix(uint64_t header_size, const std::string& rest) {
  std::string out = safetensors_bytes("", rest);
  for (int i = 0; i < 8; ++i) {
    out[static_cast<size_t>(i)] = static_cast<char>(header_size >> (8 * i));
  }
  return out;
}

// A file with one tensor "w" as the header says it, and `size` bytes of data.
Malformed tensor(std::string name, const std::string& type,
                 const std::string& shape, const std::string& offsets,
                 size_t size, std::string place, std::string expected,
                 std::string found) {
  const std::string header = R"({"w":{"dtype":)" + type + R"(,"shape":)" +
                             shape + R"(,"data_offsets":)" + offsets + "}}";
  return {std::move(name), safetensors_bytes(header, std::string(size, '\0')),
          "#/w" + std::move(place), std::move(expected), std::move(found)};
}

Malformed header(std::string name, const std::string& text, size_t size,
                 std::string place, std::string expected, std::string found) {
  return {std::move(name), safetensors_bytes(text, std::string(size, '\0')),
          std::move(place), std::move(expected), std::move(found)};
}

std::string f32(const std::string& name, int begin, int end) {
  return "\"" + name + R"(":{"dtype":"F32","shape":[)" +
         std::to_string((end - begin) / 4) + R"(],"data_offsets":[)" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

std::string nested(size_t depth) {
  return R"({"w":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
}

INSTANTIATE_TEST_SUITE_P(
    Framing, SafetensorsRefused,
    ::testing::Values(
        Malformed{"empty", "", "", "at least 8 bytes", "0"},
        Malformed{"seven_bytes", "1234567", "", "at least 8 bytes", "7"},
        Malformed{"header_of_zero", prefix(0, "{}"), "", "a header of 1 to",
                  "0"},
        Malformed{"header_of_2_64", prefix(~uint64_t{0}, "{}"), "",
                  "a header of 1 to 100000000 bytes", "18446744073709551615"},
        Malformed{"header_beyond_limit", prefix(100000001, "{}"), "",
                  "a header of 1 to 100000000 bytes", "100000001"},
        Malformed{"header_beyond_file", prefix(3, "{}"), "",
                  "a header of 3 bytes", "a file of 10 bytes"},
        header("not_an_object", "[]", 0, "", "a header that starts with '{'",
               "\"[\""),
        header("space_first", " {}", 0, "", "a header that starts with '{'",
               "\" \""),
        header("syntax", "{\"w\"}", 0, ":1:5", "':'", "'}'"),
        header("invalid_utf8", "{\"\xFF\":1}", 0, ":1:3", "UTF-8", "\\xFF"),
        header("nul_in_header", std::string("{\0}", 3), 0, ":1:2", "JSON",
               "\\u0000"),
        header("deep_nesting", nested(100000), 0, "#/w/0/0/0",
               "at most 4 nested", "more"),
        header("data_after_last", "{}", 5, "", "10 bytes", "a file of 15")),
    [](const auto& each) { return each.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Entries, SafetensorsRefused,
    ::testing::Values(
        tensor("type_unknown", "\"F12\"", "[1]", "[0,4]", 4, "/dtype",
               "a safetensors type", "string \"F12\""),
        tensor("type_number", "32", "[1]", "[0,4]", 4, "/dtype", "string",
               "32"),
        tensor("type_lowercase", "\"f32\"", "[1]", "[0,4]", 4, "/dtype",
               "a safetensors type", "string \"f32\""),
        tensor("shape_string", "\"F32\"", "\"1\"", "[0,4]", 4, "/shape",
               "array", "string"),
        tensor("dimension_negative", "\"F32\"", "[-1]", "[0,4]", 4, "/shape/0",
               "integer from 0", "-1"),
        tensor("dimension_float", "\"F32\"", "[1.0]", "[0,4]", 4, "/shape/0",
               "integer", "number 1"),
        header("dimension_1e999",
               R"({"w":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}})",
               4, ":1:34", "a number within the range of a double", "'1e999'"),
        header("dimension_octal",
               R"({"w":{"dtype":"F32","shape":[010],"data_offsets":[0,4]}})", 4,
               ":1:32", "']'", "number literal"),
        header("dimension_nan",
               R"({"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}})", 4,
               ":1:30", "JSON", "invalid literal"),
        tensor("dimension_2_64", "\"F32\"", "[18446744073709551616]", "[0,4]",
               4, "/shape/0", "an integer that fits 64 bits",
               "18446744073709551616"),
        tensor("product_wraps_to_4", "\"F32\"", "[4611686018427387904,4]",
               "[0,4]", 4, "/shape", "a size below 2^64 bytes",
               "shape [4611686018427387904, 4] of F32"),
        tensor("product_wraps_before_zero", "\"F32\"",
               "[4611686018427387904,4,0]", "[0,0]", 0, "/shape",
               "a size below 2^64 bytes", "shape"),
        tensor("nine_dimensions", "\"I8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]", 1,
               "/shape", "at most 8 dimensions", "array of 9"),
        tensor("offsets_reversed", "\"F32\"", "[1]", "[4,0]", 4,
               "/data_offsets", "begin at most end", "[4, 0]"),
        tensor("offsets_three", "\"F32\"", "[1]", "[0,4,4]", 4, "/data_offsets",
               "[begin, end]", "array of 3"),
        tensor("offset_negative", "\"F32\"", "[1]", "[-4,0]", 4,
               "/data_offsets/0", "integer of at least 0", "-4"),
        tensor("offset_beyond_file", "\"F32\"", "[1]",
               "[9223372036854775800,9223372036854775804]", 4,
               "/data_offsets/1", "an offset of at most 4",
               "9223372036854775804"),
        tensor("too_few_bytes", "\"F32\"", "[2]", "[0,4]", 4, "/data_offsets",
               "8 bytes for shape [2] of F32", "4"),
        tensor("unknown_key", "\"F32\"", "[1]", "[0,4],\"stride\":[1]", 4,
               "/stride", "only dtype, shape and data_offsets", "another key"),
        header("no_shape", R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4,
               "#/w", "key \"shape\"", "none"),
        header("entry_null", R"({"w":null})", 0, "#/w", "object", "null"),
        header("metadata_number", R"({"__metadata__":{"n":1}})", 0,
               "#/__metadata__/n", "string", "1"),
        header("name_empty", "{" + f32("", 0, 4) + "}", 4, "#/",
               "a name of 1 to 256 bytes", "0"),
        header("duplicate", "{" + f32("w", 0, 4) + "," + f32("w", 4, 8) + "}",
               8, "#", "each key once", "\"w\" twice"),
        header("duplicate_escaped",
               "{" + f32("w", 0, 4) + "," + f32("\\u0077", 4, 8) + "}", 8, "#",
               "each key once", "\"w\" twice"),
        header("overlap", "{" + f32("a", 0, 8) + "," + f32("b", 4, 12) + "}",
               12, "#/b", "data to begin at offset 8", "4: an overlap"),
        header("same_bytes_twice",
               "{" + f32("a", 0, 8) + "," + f32("b", 0, 8) + "}", 8, "#/b",
               "data to begin at offset 8", "0: an overlap"),
        header("gap", "{" + f32("a", 0, 4) + "," + f32("b", 8, 12) + "}", 12,
               "#/b", "data to begin at offset 4", "8: a gap"),
        header("gap_in_front", "{" + f32("a", 4, 8) + "}", 8, "#/a",
               "data to begin at offset 0", "4: a gap")),
    [](const auto& each) { return each.param.name; });

TEST(SafetensorsKinds, DirectoryAndFifoAreRefusedAtOnce) {
  const testing::TemporaryFolder folder;
  EXPECT_THAT(message_of<InputError>([&] { SafetensorsFile{folder.path()}; }),
              HasSubstr("expected a regular file, found a directory"));
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(message_of<InputError>([&] { SafetensorsFile{folder / "fifo"}; }),
              HasSubstr("expected a regular file, found a FIFO"));
}

}  // namespace
}  // namespace wush
