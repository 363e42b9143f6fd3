// Results files and packed records whose bytes or content are not what they
// seem; each has to end as an InputError of one line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "lib/results/hdf5_file.h"
#include "lib/results/reader.h"
#include "lib/results/record.h"
#include "lib/support/error.h"
#include "tests/lib/results/refusal.h"
#include "tests/lib/results/sample_cells.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using testing::good_file;
using ::testing::HasSubstr;
using testing::refusal;
using testing::run_sweep;
using testing::sample_cell;
using testing::sample_key;
using testing::TemporaryFolder;
using testing::write_bytes;

// ---- Files with right digests whose content is not what the schema says.

struct ForgedRecord {
  const char* name;
  void (*change)(Record& record);
  const char* message;
};

class ForgedRecordTest : public ::testing::TestWithParam<ForgedRecord> {};

TEST_P(ForgedRecordTest, IsRefused) {
  const TemporaryFolder folder;
  Record record = to_record(sample_cell(1), {});
  GetParam().change(record);
  write_bytes(folder / "forged.h5", hdf5::cell_image(sample_key(1), record));
  EXPECT_THAT(refusal(folder / "forged.h5"),
              AllOf(HasSubstr("#/runs/" + sample_key(1)),
                    HasSubstr(GetParam().message)));
}

const ForgedRecord kForgedRecords[] = {
    {"NoModel", [](Record& r) { r.attributes.erase("model"); },
     "expected the attribute \"model\", found none"},
    {"NumberForModel", [](Record& r) { r.attributes["model"] = 1.0; },
     "expected the attribute \"model\" to be text"},
    {"NumberForOption",
     [](Record& r) { r.attributes["lambda"] = std::int64_t{1}; },
     "expected the attribute \"lambda\" to be text"},
    {"UnknownStatus",
     [](Record& r) { r.attributes["status"] = std::string("fine"); },
     "expected the status \"done\" or \"failed\", found \"fine\""},
    {"MissingColumn", [](Record& r) { r.tables["linears"].columns.pop_back(); },
     "/linears/weight_error: expected a column of float64, found none"},
    {"ExtraColumn",
     [](Record& r) {
       r.tables["perplexity"].columns.push_back(
           {"more", "", std::vector<double>(8)});
     },
     "/perplexity: expected 1 columns, found 2"},
    {"ColumnOfAnotherType",
     [](Record& r) {
       r.tables["kl"].columns[0].values = std::vector<std::int64_t>(2);
     },
     "/kl/window_kl: expected a column of float64, found another type"},
    {"LyingShape",
     [](Record& r) {
       r.tables["kl"].columns[1].values = std::vector<double>(3);
     },
     "/kl/window_agreement: expected 2 rows as in the first column, found 3"},
    {"LyingShapeOfAnotherKind",
     [](Record& r) {
       r.tables["more"].columns = {{"a", "", std::vector<double>(3)},
                                   {"b", "", std::vector<std::string>(4)}};
     },
     "/more/b: expected 3 rows as in the first column, found 4"},
    {"MissingAttribute",
     [](Record& r) { r.tables["kl"].attributes.erase("agreement"); },
     "expected the attribute \"agreement\" of type float64, found none"},
    {"AttributeOfAnotherType",
     [](Record& r) { r.tables["perplexity"].attributes["length"] = 512.0; },
     "expected the attribute \"length\" of type int64, found another type"},
    {"ExtraAttribute",
     [](Record& r) { r.tables["perplexity"].attributes["more"] = 1.0; },
     "/perplexity: expected 3 attributes, found 4"},
    {"NegativeLayer",
     [](Record& r) {
       r.tables["layer_loss"].columns[0].values =
           std::vector<std::int64_t>(6, -1);
     },
     "/layer_loss/layer: expected a count that fits 31 bits, found -1"},
    {"LayerOf2To40",
     [](Record& r) {
       r.tables["linears"].columns[0].values =
           std::vector<std::int64_t>(6, std::int64_t{1} << 40);
     },
     "found 1099511627776"},
    {"RepeatsOutOfRange",
     [](Record& r) {
       r.tables["layer_loss_repeats"].columns[0].values =
           std::vector<std::int64_t>{0, 1, 2, 3, 4, 6};
     },
     "expected rows of layer_loss in order (6 rows), found 6"},
    {"RepeatsOutOfOrder",
     [](Record& r) {
       r.tables["layer_loss_repeats"].columns[0].values =
           std::vector<std::int64_t>{0, 1, 3, 2, 4, 5};
     },
     "found 2"},
    {"NoRepeats", [](Record& r) { r.tables.erase("layer_loss_repeats"); },
     "/layer_loss_repeats/row: expected a column of int64, found none"},
    {"NoProvenance", [](Record& r) { r.tables.erase("provenance"); },
     "\"peak_memory_bytes\""},
};

INSTANTIATE_TEST_SUITE_P(All, ForgedRecordTest,
                         ::testing::ValuesIn(kForgedRecords),
                         [](const auto& test) { return test.param.name; });

TEST(ForgedKey, IsRefused) {
  const TemporaryFolder folder;
  const Record record = to_record(sample_cell(1), {});
  for (const std::string& key :
       {std::string("short"), std::string(32, 'G'), std::string(33, 'a')}) {
    write_bytes(folder / "forged.h5", hdf5::cell_image(key, record));
    EXPECT_THAT(refusal(folder / "forged.h5"),
                HasSubstr("expected a key of 32 hexadecimal digits"));
  }
}

// ---- Packed records, as a child process sends them.

TEST(PackedRecord, TruncatedOrLengthenedIsRefused) {
  const std::string bytes =
      pack_record(to_record(sample_cell(3), {{"a", "b"}}));
  EXPECT_EQ(pack_record(unpack_record(bytes, "file")), bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(unpack_record(bytes.substr(0, size), "file"), InputError);
  }
  EXPECT_THROW(unpack_record(bytes + "x", "file"), InputError);
}

TEST(PackedRecord, WithAnUnknownTypeOrAbsurdCountIsRefused) {
  const Record one = {.attributes = {{"a", 1.0}}, .tables = {}};
  std::string bytes = pack_record(one);
  bytes[17] = 3;  // count, length of the name, "a", then the type
  EXPECT_THROW(unpack_record(bytes, "file"), InputError);
  bytes = pack_record(one);
  bytes[6] = 1;  // 2^48 attributes
  EXPECT_THROW(unpack_record(bytes, "file"), InputError);
}

// ---- Bytes.

TEST(BrokenFile, ThatIsNotHdf5IsRefused) {
  const TemporaryFolder folder;
  const std::string nothing_else[] = {
      "", "x", "name: demo\n", std::string(100'000, '\0'), "\x89HDF\r\n\x1a\n"};
  for (const std::string& bytes : nothing_else) {
    write_bytes(folder / "file.h5", bytes);
    EXPECT_THAT(refusal(folder / "file.h5"),
                HasSubstr("cannot open the file as HDF5"));
  }
}

TEST(BrokenFile, ThatIsNoFileIsRefused) {
  const TemporaryFolder folder;
  refusal(folder / "absent.h5");
  ASSERT_EQ(::mkfifo((folder / "fifo.h5").c_str(), 0600), 0);
  refusal(folder / "fifo.h5");
  fs::create_directory(folder / "folder.d");
  refusal(folder / "folder.d");
}

TEST(BrokenFolder, WithADamagedCellIsRefused) {
  const TemporaryFolder folder;
  run_sweep(folder.path(), 1);
  for (const auto& entry : fs::directory_iterator(folder / "demo.d")) {
    if (entry.path().extension() == ".h5") fs::resize_file(entry.path(), 100);
  }
  EXPECT_THAT(refusal(folder / "demo.d"),
              HasSubstr("expected the SHA-256 of its name"));
}

TEST(BrokenFile, TruncatedAnywhereIsRefused) {
  const TemporaryFolder folder;
  const std::string& good = good_file();
  // Every length near both ends, and 97 bytes apart between them.
  for (std::size_t size = 0; size < good.size();
       size += size < 64 || size > good.size() - 64 ? 1 : 97) {
    write_bytes(folder / "cut.h5", std::string_view(good).substr(0, size));
    EXPECT_NE(refusal(folder / "cut.h5"), "") << size << " bytes";
  }
}

// A flipped bit is refused, or it lies where nothing is stored and everything
// reads as before.
TEST(BrokenFile, FlippedBitsNeverChangeANumber) {
  const TemporaryFolder folder;
  const fs::path good = folder / "good.h5";
  const fs::path flipped = folder / "flipped.h5";
  write_bytes(good, good_file());
  int refused = 0;
  int unharmed = 0;
  for (std::size_t at = 0; at < good_file().size(); at += 101) {
    std::string bytes = good_file();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    write_bytes(flipped, bytes);
    try {
      EXPECT_THAT(compare_results(good, flipped), ::testing::IsEmpty())
          << "byte " << at;
      ++unharmed;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(flipped.string()));
      ++refused;
    }
  }
  RecordProperty("refused", refused);
  RecordProperty("unharmed", unharmed);
  EXPECT_GT(refused, unharmed);
}

}  // namespace
}  // namespace wush
