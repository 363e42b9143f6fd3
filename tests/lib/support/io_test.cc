#include "lib/support/io.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <set>
#include <string>

#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/io_faults.h"
#include "tests/child_process.h"
#include "tests/temporary_folder.h"

namespace wush::io {
namespace {

using ::testing::HasSubstr;
using wush::testing::message_of;
using wush::testing::run_in_child;
using wush::testing::TemporaryFolder;

constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 30;

// Clears the fault plan when a test ends.
class IoTest : public ::testing::Test {
 protected:
  ~IoTest() override { set_faults({}); }

  std::set<std::string> names() const {
    std::set<std::string> list;
    for (const auto& entry :
         std::filesystem::directory_iterator(folder_.path())) {
      list.insert(entry.path().filename().string());
    }
    return list;
  }
  std::string content(const std::string& name) const {
    return read_input_file(folder_ / name, kNoLimit);
  }

  TemporaryFolder folder_;
};

TEST_F(IoTest, ReplacesAFileAtomically) {
  write_file_atomically(folder_ / "a", "one");
  write_file_atomically(folder_ / "a", "two");
  EXPECT_EQ(content("a"), "two");
  EXPECT_EQ(names(), std::set<std::string>{"a"});
}

TEST_F(IoTest, DoesNotReplaceWhenAskedNotTo) {
  EXPECT_TRUE(write_file_atomically(folder_ / "a", "one", Replace::kNo));
  EXPECT_FALSE(write_file_atomically(folder_ / "a", "two", Replace::kNo));
  EXPECT_EQ(content("a"), "one");
  EXPECT_EQ(names(), std::set<std::string>{"a"});
}

TEST_F(IoTest, FailedVerificationLeavesNothing) {
  EXPECT_THROW(
      write_file_atomically(
          folder_ / "a", [](File& file) { file.write("one"); }, Replace::kYes,
          [](const std::filesystem::path&) { throw StorageError("no"); }),
      StorageError);
  EXPECT_TRUE(names().empty());
}

TEST_F(IoTest, MakesFoldersWithParents) {
  make_directories(folder_ / "a/b/c");
  EXPECT_TRUE(std::filesystem::is_directory(folder_ / "a/b/c"));
  make_directories(folder_ / "a/b/c");
}

TEST_F(IoTest, NamesThePathThatFails) {
  write_file_atomically(folder_ / "file", "x");
  EXPECT_THAT(
      message_of<StorageError>([&] { make_directories(folder_ / "file/sub"); }),
      HasSubstr((folder_ / "file").string()));
  EXPECT_THAT(message_of<StorageError>(
                  [&] { write_file_atomically(folder_ / "no/file", "x"); }),
              HasSubstr("No such file or directory"));
}

TEST_F(IoTest, RecognisesItsTemporaries) {
  const std::string name =
      temporary_beside(folder_ / "demo.h5").filename().string();
  EXPECT_TRUE(is_temporary(name));
  EXPECT_TRUE(is_temporary(name, "demo.h5"));
  EXPECT_FALSE(is_temporary(name, "other.h5"));
  for (const char* other : {"demo.h5", ".hidden", ".demo.tmp-x", ".tmp-1-2",
                            "demo.tmp-12-ab", ".demo.h5.tmp-12"}) {
    EXPECT_FALSE(is_temporary(other)) << other;
  }
}

TEST_F(IoTest, FailedSyncIsRewrittenUnderANewName) {
  // The calls of a write are open, write, fsync, ...
  set_faults({{FaultKind::kIoError, 3}});
  std::set<std::string> temporaries;
  write_file_atomically(
      folder_ / "a", [](File& file) { file.write("one"); }, Replace::kYes,
      [&](const std::filesystem::path& path) {
        temporaries.insert(path.filename().string());
      });
  EXPECT_EQ(temporaries.size(), 2u);
  EXPECT_EQ(content("a"), "one");
  EXPECT_EQ(names(), std::set<std::string>{"a"});
}

TEST_F(IoTest, GivesUpWhenEverySyncFails) {
  int attempts = 0;
  EXPECT_THROW(write_file_atomically(folder_ / "a",
                                     [&](File& file) {
                                       file.write("one");
                                       ++attempts;
                                       set_faults({{FaultKind::kIoError, 1}});
                                     }),
               SyncError);
  EXPECT_EQ(attempts, 3);
  EXPECT_TRUE(names().empty());
}

struct FaultCase {
  const char* name;
  FaultKind kind;
  bool survives;  // the write succeeds in spite of the fault
};

class IoFaultTest : public IoTest,
                    public ::testing::WithParamInterface<FaultCase> {};

// Fails every call of an atomic write in turn. Whatever happens, the file holds
// the old or the new content, whole, and no temporary stays behind.
TEST_P(IoFaultTest, OldOrNewContentWhicheverCallFails) {
  const std::string old_content(1000, 'o');
  const std::string new_content(5000, 'n');
  for (std::uint64_t call = 1; call < 100; ++call) {
    set_faults({});
    write_file_atomically(folder_ / "a", old_content);
    set_faults({{GetParam().kind, call}});
    bool failed = false;
    try {
      write_file_atomically(folder_ / "a", new_content);
    } catch (const StorageError& error) {
      failed = true;
      EXPECT_THAT(error.what(), HasSubstr(folder_.path().string()));
    }
    const bool reached = call_count() >= call;
    set_faults({});
    const std::string found = content("a");
    EXPECT_TRUE(found == old_content || found == new_content);
    EXPECT_TRUE(failed || found == new_content) << "call " << call;
    EXPECT_FALSE(failed && GetParam().survives) << "call " << call;
    EXPECT_EQ(names(), std::set<std::string>{"a"}) << "call " << call;
    if (!reached) {
      EXPECT_FALSE(failed);
      // open, write, fsync, close, rename, open folder, fsync, close
      EXPECT_EQ(call, 9u);
      return;
    }
  }
  FAIL() << "more calls than expected";
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, IoFaultTest,
    ::testing::Values(FaultCase{"NoSpace", FaultKind::kNoSpace, false},
                      FaultCase{"IoError", FaultKind::kIoError, false},
                      FaultCase{"Interrupted", FaultKind::kInterrupted, true},
                      FaultCase{"ShortWrite", FaultKind::kShortWrite, true}),
    [](const auto& test) { return test.param.name; });

TEST_F(IoTest, KilledAtEveryCallLeavesOldOrNewContent) {
  const std::string old_content(1000, 'o');
  const std::string new_content(5000, 'n');
  for (std::uint64_t call = 1; call < 100; ++call) {
    write_file_atomically(folder_ / "a", old_content);
    const int status = run_in_child([&] {
      set_faults({{FaultKind::kKill, call}});
      write_file_atomically(folder_ / "a", new_content);
    });
    const std::string found = content("a");
    EXPECT_TRUE(found == old_content || found == new_content);
    if (status == 0) {
      EXPECT_EQ(call, 9u);
      EXPECT_EQ(found, new_content);
      return;
    }
    EXPECT_EQ(status, -SIGKILL);
    for (const std::string& name : names()) {
      if (is_temporary(name)) remove_file(folder_ / name);
    }
  }
  FAIL() << "more calls than expected";
}

TEST_F(IoTest, ShortWritesAreContinuedToTheLastByte) {
  set_faults({{FaultKind::kShortWrite, 1, true}});
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes += std::to_string(i);
  write_file_atomically(folder_ / "a", bytes);
  EXPECT_EQ(content("a"), bytes);
  // open, about log2(2890) writes, fsync, close, rename, 3 for the folder
  EXPECT_GT(call_count(), 15u);
}

TEST_F(IoTest, TakesItsPlanFromTheEnvironment) {
  // The environment is read once a process, so this needs one that starts anew.
  const std::string program =
      std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command =
      "WUSH_IO_FAULT=enospc@1 " + program +
      " --gtest_also_run_disabled_tests "
      "--gtest_filter=IoTest.DISABLED_WritesOneFile > /dev/null";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

// Not a test: the child of the one above.
TEST_F(IoTest, DISABLED_WritesOneFile) {
  try {
    write_file_atomically(folder_ / "a", "x");
  } catch (const Error& error) {
    std::exit(static_cast<int>(error.code()));
  }
}

TEST(ParseFaults, ReadsEveryKind) {
  const auto faults =
      parse_faults("enospc@17+,eio@1,eintr@2,short@3+,kill@400");
  ASSERT_EQ(faults.size(), 5u);
  EXPECT_EQ(faults[0].kind, FaultKind::kNoSpace);
  EXPECT_EQ(faults[0].call, 17u);
  EXPECT_TRUE(faults[0].onwards);
  EXPECT_EQ(faults[1].kind, FaultKind::kIoError);
  EXPECT_EQ(faults[2].kind, FaultKind::kInterrupted);
  EXPECT_EQ(faults[3].kind, FaultKind::kShortWrite);
  EXPECT_EQ(faults[4].kind, FaultKind::kKill);
  EXPECT_FALSE(faults[4].onwards);
}

class BadFaultTest : public ::testing::TestWithParam<const char*> {};

TEST_P(BadFaultTest, IsRefusedWithTheKinds) {
  EXPECT_THAT(message_of<InputError>([] { parse_faults(GetParam()); }),
              HasSubstr("enospc, eio, eintr, short, kill"));
}

INSTANTIATE_TEST_SUITE_P(All, BadFaultTest,
                         ::testing::Values("", "enospc", "enospc@", "enospc@0",
                                           "enospc@-1", "full@3", "eio@3x",
                                           "eio@3,", "eintr@3+", "kill@3+",
                                           "eio@99999999999999999999"));

}  // namespace
}  // namespace wush::io
