// Texts and their windows.
#include "lib/text/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <numeric>

#include "lib/support/error.h"
#include "tests/child_process.h"
#include "tests/lib/text/small_tokenizers.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

using ::testing::ElementsAre;
using testing::message_of;
using testing::TemporaryFolder;

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST(Windows, DoNotOverlapAndDropTheTail) {
  std::vector<int32_t> tokens(11);
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto windows = cut_windows(tokens, 4, 0, "text");
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_THAT(windows[0], ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(windows[1], ElementsAre(4, 5, 6, 7));
  EXPECT_EQ(cut_windows(tokens, 4, 1, "text").size(), 1u);
  EXPECT_EQ(cut_windows(tokens, 11, 1, "text").size(), 1u);
}

TEST(Windows, TextShorterThanAWindowIsRefusedWithCounts) {
  const std::vector<int32_t> tokens(11);
  EXPECT_EQ(
      message_of<InputError>([&] { cut_windows(tokens, 12, 0, "t.txt"); }),
      "t.txt: expected text for 1 windows of 12 tokens, found 11 tokens, "
      "which fill 0");
  EXPECT_EQ(message_of<InputError>([&] { cut_windows(tokens, 4, 3, "t.txt"); }),
            "t.txt: expected text for 3 windows of 4 tokens, found 11 tokens, "
            "which fill 2");
}

TEST(Corpus, TokenizesOnce) {
  const TemporaryFolder folder;
  const Tokenizer tokenizer = Tokenizer::parse(
      testing::byte_level_tokenizer().dump(), "tokenizer.json");
  write_text(folder / "t.txt", "abc ac");
  EXPECT_THAT(tokenize_text(tokenizer, read_text(folder / "t.txt"), 260),
              ElementsAre(258, 259, 'c'));
  EXPECT_EQ(message_of<InputError>([&] {
              tokenize_text(tokenizer, read_text(folder / "t.txt"), 259);
            }),
            (folder / "t.txt").string() +
                ": expected token ids below 259, the model's vocab_size, found "
                "259 at token 1");
}

// As text mode of Python's open() reads them.
TEST(Corpus, LineEndsAreReadAsLineFeedsAndCounted) {
  const TemporaryFolder folder;
  write_text(folder / "t.txt", "a\r\nb\rc\nd\r\r\n\r");
  const Text text = read_text(folder / "t.txt");
  EXPECT_EQ(text.content, "a\nb\nc\nd\n\n\n");
  EXPECT_EQ(text.converted_line_ends, 5);
  write_text(folder / "t.txt", "a\nb");
  EXPECT_EQ(read_text(folder / "t.txt").converted_line_ends, 0);
}

TEST(Corpus, UnreadableTextsAreRefused) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& name) {
    const std::string text =
        message_of<InputError>([&] { read_text(folder / name); });
    return text.substr(std::min(folder.path().string().size(), text.size()));
  };
  write_text(folder / "empty.txt", "");
  EXPECT_EQ(message("empty.txt"), "/empty.txt: expected text, found nothing");
  write_text(folder / "latin1.txt", "first\nse\xE9nd");
  EXPECT_EQ(message("latin1.txt"),
            "/latin1.txt:2:3: expected UTF-8, found \\xE9");
  EXPECT_EQ(message("none.txt"),
            "/none.txt: expected a readable file, found \"No such file or "
            "directory\"");
  std::filesystem::create_directory(folder / "dir.txt");
  EXPECT_EQ(message("dir.txt"),
            "/dir.txt: expected a regular file, found a directory");
  ASSERT_EQ(::mkfifo((folder / "fifo.txt").c_str(), 0600), 0);
  EXPECT_EQ(message("fifo.txt"),
            "/fifo.txt: expected a regular file, found a FIFO");
  write_text(folder / "large.txt", "x");
  std::filesystem::resize_file(folder / "large.txt", kMaxTextBytes + 1);
  EXPECT_EQ(message("large.txt"),
            "/large.txt: expected at most 268435456 bytes, found 268435457");
}

}  // namespace
}  // namespace wush
