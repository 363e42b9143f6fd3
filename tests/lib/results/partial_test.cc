#include "lib/results/partial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <string>

#include "lib/results/store.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/io_faults.h"
#include "tests/lib/results/sample_cells.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::sample_cell;
using testing::sample_key;
using testing::sample_plan;
using ::testing::SizeIs;
using testing::TemporaryFolder;

class BlockCheckpointTest : public ::testing::Test {
 protected:
  BlockCheckpoint checkpoint(const std::string& key = "key") {
    return BlockCheckpoint(
        path_, key, folder_ / "quarantine",
        [this](const std::string& line) { reports_.push_back(line); });
  }

  TemporaryFolder folder_;
  fs::path path_ = folder_ / "key.partial";
  std::vector<std::string> reports_;
  const std::vector<float> hidden_ = {1.5f, -0.0f, NAN, 1e-45f};
  const std::vector<float> empty_;
};

TEST_F(BlockCheckpointTest, ComesBackBitForBit) {
  EXPECT_FALSE(checkpoint().load().has_value());
  checkpoint().save("{\"block\": 3}", {{"hidden", hidden_}, {"none", empty_}});
  checkpoint().save("{\"block\": 4}", {{"hidden", hidden_}, {"none", empty_}});
  const auto state = checkpoint().load();
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->header, "{\"block\": 4}");
  ASSERT_THAT(state->arrays, SizeIs(2));
  const std::vector<float>& loaded = state->arrays.at("hidden");
  ASSERT_EQ(loaded.size(), hidden_.size());
  EXPECT_EQ(std::memcmp(loaded.data(), hidden_.data(), sizeof(float) * 4), 0);
  EXPECT_THAT(state->arrays.at("none"), IsEmpty());
  checkpoint().remove();
  EXPECT_FALSE(checkpoint().load().has_value());
  checkpoint().remove();
  EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(BlockCheckpointTest, AnyFlippedBitCountsAsNone) {
  checkpoint().save("{}", {{"hidden", hidden_}});
  const std::string bytes = read_input_file(path_, 1 << 20);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    std::ofstream(path_, std::ios::binary) << damaged;
    ASSERT_FALSE(checkpoint().load().has_value()) << "byte " << i;
    ASSERT_FALSE(fs::exists(path_)) << "byte " << i;
  }
  EXPECT_THAT(reports_, SizeIs(bytes.size()));
  EXPECT_THAT(reports_.back(), HasSubstr("starts again"));
}

TEST_F(BlockCheckpointTest, AnyTruncationCountsAsNone) {
  checkpoint().save("{}", {{"hidden", hidden_}});
  const std::string bytes = read_input_file(path_, 1 << 20);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    std::ofstream(path_, std::ios::binary) << bytes.substr(0, size);
    ASSERT_FALSE(checkpoint().load().has_value()) << size << " bytes";
  }
}

TEST_F(BlockCheckpointTest, StateOfAnotherCellCountsAsNone) {
  checkpoint("other").save("{}", {{"hidden", hidden_}});
  EXPECT_FALSE(checkpoint("key").load().has_value());
  ASSERT_THAT(reports_, SizeIs(1));
  EXPECT_THAT(reports_[0], HasSubstr("found that of cell other"));
}

TEST_F(BlockCheckpointTest, FullDiskKeepsTheFormerState) {
  checkpoint().save("old", {{"hidden", hidden_}});
  io::set_faults({{io::FaultKind::kNoSpace, 4}});
  EXPECT_THROW(checkpoint().save("new", {{"hidden", hidden_}}), StorageError);
  io::set_faults({});
  EXPECT_EQ(checkpoint().load()->header, "old");
}

TEST_F(BlockCheckpointTest, IsRemovedWhenTheCellIsDone) {
  ResultStore store(folder_.path(), sample_plan(1), {}, testing::ignore_report);
  const BlockCheckpoint state = store.block_checkpoint(sample_key(0));
  state.save("{}", {{"hidden", hidden_}});
  EXPECT_TRUE(state.load().has_value());
  store.put(sample_key(0), sample_cell(0));
  EXPECT_FALSE(state.load().has_value());
}

}  // namespace
}  // namespace wush
