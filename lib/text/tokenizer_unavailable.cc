// Stands in for tokenizer.cc in builds without Oniguruma and utf8proc.
#include "lib/support/error.h"
#include "lib/text/tokenizer.h"

namespace wush {
namespace {

[[noreturn]] void refuse(const std::string& source) {
  throw InputError(
      source,
      "expected a program built with Oniguruma and utf8proc, which "
      "tokenizers need, found one without (Debian: libonig-dev "
      "libutf8proc-dev)");
}

}  // namespace

struct Tokenizer::State {};

Tokenizer::Tokenizer(std::unique_ptr<const State> state)
    : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  refuse(path.string());
}

Tokenizer Tokenizer::parse(std::string_view, const std::string& source) {
  refuse(source);
}

std::vector<int32_t> Tokenizer::encode(std::string_view, bool,
                                       const std::string& source) const {
  refuse(source);
}

std::string Tokenizer::decode(std::span<const int32_t>) const {
  refuse("token ids");
}

int64_t Tokenizer::vocab_size() const { refuse("tokenizer"); }

}  // namespace wush
