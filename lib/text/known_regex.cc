#include "lib/text/known_regex.h"

#include <oniguruma.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "lib/support/error.h"

namespace wush {

namespace {

const OnigUChar* bytes_of(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

std::string message_of(int code) {
  std::array<OnigUChar, ONIG_MAX_ERROR_MESSAGE_LEN> text{};
  const int size = onig_error_code_to_str(text.data(), code);
  return {reinterpret_cast<const char*>(text.data()),
          static_cast<size_t>(std::max(size, 0))};
}

void initialize_once() {
  static std::once_flag flag;
  std::call_once(flag, [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    const int code = onig_initialize(encodings, 1);
    WUSH_CHECK(code == ONIG_NORMAL, "onig_initialize: {}", message_of(code));
  });
}

}  // namespace

bool is_known_pattern(std::string_view pattern) {
  return pattern == kGpt2Pattern || pattern == kLlama3Pattern ||
         pattern == kQwenPattern;
}

struct KnownRegex::Compiled {
  ~Compiled() { onig_free(regex); }
  regex_t* regex = nullptr;
};

KnownRegex::KnownRegex(std::string_view pattern)
    : compiled_(std::make_unique<Compiled>()) {
  WUSH_CHECK(is_known_pattern(pattern), "an unknown pattern is never run");
  initialize_once();
  const OnigUChar* begin = bytes_of(pattern);
  const int code = onig_new(&compiled_->regex, begin, begin + pattern.size(),
                            ONIG_OPTION_NONE, ONIG_ENCODING_UTF8,
                            ONIG_SYNTAX_ONIGURUMA, nullptr);
  WUSH_CHECK(code == ONIG_NORMAL, "onig_new: {}", message_of(code));
}

KnownRegex::~KnownRegex() = default;
KnownRegex::KnownRegex(KnownRegex&&) noexcept = default;

void KnownRegex::split(
    std::string_view text, const std::string& source,
    const std::function<void(std::string_view)>& sink) const {
  const std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region(
      onig_region_new(), [](OnigRegion* r) { onig_region_free(r, 1); });
  const OnigUChar* begin = bytes_of(text);
  const OnigUChar* end = begin + text.size();
  size_t done = 0;
  while (done < text.size()) {
    const int found = onig_search(compiled_->regex, begin, end, begin + done,
                                  end, region.get(), ONIG_OPTION_NONE);
    if (found == ONIG_MISMATCH) break;
    if (found < 0) {
      throw InputError(
          source, fmt::format("expected text that the tokenizer's regex can "
                              "cut, found at byte {}: {}",
                              done, message_of(found)));
    }
    const auto match_begin = static_cast<size_t>(region->beg[0]);
    const auto match_end = static_cast<size_t>(region->end[0]);
    WUSH_CHECK(match_end > match_begin, "an empty match at byte {}", done);
    if (match_begin > done) sink(text.substr(done, match_begin - done));
    sink(text.substr(match_begin, match_end - match_begin));
    done = match_end;
  }
  if (done < text.size()) sink(text.substr(done));
}

}  // namespace wush
