// Large hostile files: refused within two seconds, with memory of at most the
// file's size plus 64 MiB.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <ctime>
#include <fstream>
#include <functional>
#include <string>

#include "lib/checkpoint/config.h"
#include "lib/checkpoint/safetensors.h"
#include "lib/checkpoint/shards.h"
#include "lib/support/json.h"
#include "lib/text/corpus.h"
#include "lib/text/tokenizer.h"
#include "tests/child_process.h"
#include "tests/lib/checkpoint/tiny_checkpoint.h"
#include "tests/temporary_folder.h"

// Time and memory are promised for optimised builds without sanitizers.
#if defined(__SANITIZE_ADDRESS__) || !defined(NDEBUG)
#define WUSH_MEASURED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WUSH_MEASURED 0
#endif
#endif
#if !defined(WUSH_MEASURED)
#define WUSH_MEASURED 1
#endif

namespace wush {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

constexpr uint64_t kMebibyte = 1 << 20;
constexpr bool kMeasured = WUSH_MEASURED == 1;
constexpr uint64_t kFileBytes = (kMeasured ? 40 : 10) * kMebibyte;

// Peak resident memory of this process in bytes.
uint64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

// Written by the child, read by the test.
struct Measured {
  double seconds;  // of the processor, whatever else runs on it
  uint64_t peak;
};

struct Hostile {
  std::string name;
  std::function<std::string()> content;
  std::function<void(const fs::path&)> read;
};

std::ostream& operator<<(std::ostream& out, const Hostile& c) {
  return out << c.name;
}

class HostileSize : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileSize, IsRefusedInTimeAndMemory) {
  const TemporaryFolder folder;
  const fs::path path = folder / "file";
  // In a child, so that neither content nor allocator pools count below.
  testing::run_in_child(
      [&] { testing::write_file(path, GetParam().content()); });
  const uint64_t size = fs::file_size(path);
  ASSERT_GT(size, 8 * kMebibyte);
  auto* measured = static_cast<Measured*>(
      ::mmap(nullptr, sizeof(Measured), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(measured, MAP_FAILED);
  const int status = testing::run_in_child([&] {
    const std::clock_t start = std::clock();
    const auto note = [&] {
      const double ticks = static_cast<double>(std::clock() - start);
      *measured = {ticks / CLOCKS_PER_SEC, peak_memory()};
    };
    try {
      GetParam().read(path);
    } catch (...) {
      note();
      throw;
    }
  });
  EXPECT_EQ(status, static_cast<int>(ExitCode::kInput));
  if (kMeasured) {
    EXPECT_LE(measured->peak, size + 64 * kMebibyte);
    EXPECT_LT(measured->seconds, 2.0);
  }
  ::munmap(measured, sizeof(Measured));
}

// `start` and then `text` over and over, for `bytes` bytes.
std::string filled(const std::string& start, const std::string& text,
                   size_t bytes) {
  std::string out = start;
  out.reserve(bytes + text.size());
  while (out.size() < bytes) out += text;
  return out;
}

std::string safetensors_with(const std::string& header) {
  return testing::safetensors_bytes(header, "");
}

// As many tensors, with names as long, as the limits let through; the last one
// makes the file wrong.
std::string many_tensors() {
  std::string header = "{";
  for (int i = 0; i < 65000; ++i) {
    header += fmt::format(
        R"("{:n>146}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}},)", i);
  }
  header += R"("z":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  return safetensors_with(header);
}

std::string many_shards() {
  std::string text = R"({"weight_map":{)";
  for (int i = 0; i < 500000; ++i) {
    text += fmt::format(R"("{}":"a.safetensors",)", i);
  }
  return text + R"("x":1}})";
}

// A vocabulary and merges as large as those of Llama 3, the last merge wrong.
std::string many_merges() {
  std::string text =
      R"({"model":{"type":"BPE","vocab":{"a":280000,"aa":280001)";
  for (int i = 0; i < 280000; ++i) {
    text += fmt::format(R"(,"t{:06}_padpadpadpad":{})", i, i);
  }
  text += R"(},"merges":[)";
  for (int i = 0; i < 320000; ++i) text += R"(["a","a"],)";
  return text + R"(["a","zz"]]}})";
}

void read_safetensors(const fs::path& path) { SafetensorsFile{path}; }
void read_config_file(const fs::path& path) { read_config(path); }
void read_index(const fs::path& path) { read_shard_index(path); }
void read_tokenizer(const fs::path& path) { Tokenizer::load(path); }
void read_text_file(const fs::path& path) { read_text(path); }
void read_json(const fs::path& path) {
  JsonDocument::read(path, {.max_bytes = 256 * kMebibyte});
}

// A file whose header is `start`, and then `text` over and over.
Hostile header(std::string name, const std::string& start,
               const std::string& text) {
  return {std::move(name),
          [start, text] {
            return safetensors_with(filled(start, text, kFileBytes));
          },
          read_safetensors};
}

// A text of that size for a reader.
Hostile text(std::string name, const std::string& start,
             const std::string& repeated, void (*read)(const fs::path&)) {
  return {std::move(name),
          [start, repeated] { return filled(start, repeated, kFileBytes); },
          read};
}

INSTANTIATE_TEST_SUITE_P(
    Files, HostileSize,
    ::testing::Values(
        header("safetensors_many_values", "{\"w\":[", "0,"),
        header("safetensors_deep", "{\"w\":", "["),
        header("safetensors_long_name", "{\"", "n"),
        header("safetensors_escaped_name", "{\"", "\\u0041"),
        header("safetensors_many_names", "{", "\"n\":"),
        header("safetensors_blank", "{", " "),
        header("safetensors_digits", "{\"w\":", "9"),
        Hostile{"safetensors_many_tensors", many_tensors, read_safetensors},
        Hostile{"index_many_entries", many_shards, read_index},
        Hostile{"tokenizer_many_merges", many_merges, read_tokenizer},
        text("tokenizer_deep", "{\"model\":", "[", read_tokenizer),
        text("text_not_utf8", "\xFF", "x", read_text_file),
        text("config_large", "", "[", read_config_file),
        text("json_many_strings", "[", "\"s\",", read_json),
        text("json_many_objects", "[", "{\"k\":{}},", read_json),
        text("json_not_utf8", "\xFF", "x", read_json)),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace wush
