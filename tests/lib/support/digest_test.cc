#include "lib/support/digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "lib/support/error.h"
#include "tests/child_process.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

using testing::TemporaryFolder;

// The examples of FIPS 180-4 (NIST, SHA-256 test vectors).
TEST(Sha256, MatchesTheStandardsExamples) {
  EXPECT_EQ(sha256_hex(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(
      sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, IsTheSameInPieces) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i);
  for (const std::size_t piece : {1u, 7u, 64u, 1000u}) {
    Sha256 digest;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      digest.update(std::string_view(text).substr(at, piece));
    }
    EXPECT_EQ(digest.hex(), sha256_hex(text)) << piece;
  }
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 1u, (1u << 20) - 1, 1u << 20, 3000000u}) {
    const std::string bytes(size, 'x');
    std::ofstream(folder / "file", std::ios::binary) << bytes;
    EXPECT_EQ(sha256_file(folder / "file"), sha256_hex(bytes)) << size;
  }
}

TEST(Sha256, RefusesWhatIsNotAFile) {
  const TemporaryFolder folder;
  EXPECT_THROW(sha256_file(folder / "absent"), InputError);
  EXPECT_THROW(sha256_file(folder.path()), InputError);
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_THROW(sha256_file(folder / "fifo"), InputError);
}

TEST(Sha256, NoticesAFileThatChangesWhileItIsRead) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
  };
  write("file", "abc");
  EXPECT_EQ(sha256_while_reading(folder / "file", [] {}), sha256_hex("abc"));
  EXPECT_THROW(
      sha256_while_reading(folder / "file", [&] { write("file", "longer"); }),
      InputError);
  write("other", "longer");  // the same bytes in another file
  EXPECT_THROW(
      sha256_while_reading(
          folder / "file",
          [&] { std::filesystem::rename(folder / "other", folder / "file"); }),
      InputError);
  EXPECT_THROW(sha256_while_reading(folder / "absent", [] {}), InputError);
}

}  // namespace
}  // namespace wush
