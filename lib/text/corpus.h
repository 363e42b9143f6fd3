// Texts for calibration and evaluation, cut into windows of tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/text/tokenizer.h"

namespace wush {

// Largest text that is read, in bytes.
inline constexpr uint64_t kMaxTextBytes = uint64_t{1} << 28;

// A text as a tokenizer is given it.
struct Text {
  std::string name;     // of its file, for messages
  std::string content;  // UTF-8, lines ended by LF
  // Line ends of the file that were CR LF or CR. They are read as LF, which is
  // what reading in text mode gives in the scripts this is compared with.
  int64_t converted_line_ends = 0;
};

// A text file. Errors: InputError when it is not a regular file, too large,
// empty, or not UTF-8 (with line and column).
Text read_text(const std::filesystem::path& path);

// The text's token ids, with the tokenizer's special tokens once, at its ends.
// Errors: those of Tokenizer::encode, and InputError for an id that is not
// below `vocab_size`, the number of embeddings of the model.
std::vector<int32_t> tokenize_text(const Tokenizer& tokenizer, const Text& text,
                                   int64_t vocab_size);

// Non-overlapping windows of `length` tokens from the start; the tail that does
// not fill a window is dropped. At most `max_windows` of them (0: all).
// `source` names the text in messages. Errors: InputError when the tokens do
// not fill one window, or not `max_windows` of them.
std::vector<std::vector<int32_t>> cut_windows(
    const std::vector<int32_t>& tokens, int64_t length, int64_t max_windows,
    const std::string& source);

}  // namespace wush
