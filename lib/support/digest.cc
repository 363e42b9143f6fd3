#include "lib/support/digest.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

// What differs once a file was written to or another took its name. Unlike the
// time of modification, that of change (ctime) cannot be set.
std::string file_state(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "";
  return fmt::format("{} {} {} {}.{}", status.st_dev, status.st_ino,
                     status.st_size, status.st_ctim.tv_sec,
                     status.st_ctim.tv_nsec);
}

}  // namespace

struct Sha256::Context {
  EVP_MD_CTX* state = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(state); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  const int begun =
      context_->state == nullptr
          ? 0
          : EVP_DigestInit_ex(context_->state, EVP_sha256(), nullptr);
  WUSH_CHECK(begun == 1, "OpenSSL offers no SHA-256");
}

Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  const int updated =
      EVP_DigestUpdate(context_->state, bytes.data(), bytes.size());
  WUSH_CHECK(updated == 1, "EVP_DigestUpdate failed");
}

void Sha256::update(std::string_view text) {
  update(std::as_bytes(std::span(text.data(), text.size())));
}

std::string Sha256::hex() {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  const int ended = EVP_DigestFinal_ex(context_->state, digest.data(), &size);
  WUSH_CHECK(ended == 1 && size == digest.size(), "EVP_DigestFinal_ex failed");
  std::string text;
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 digest;
  digest.update(bytes);
  return digest.hex();
}

std::string sha256_file(const std::filesystem::path& path) {
  const InputFile file(path);
  std::vector<std::byte> piece(std::size_t{1} << 20);
  Sha256 digest;
  std::uint64_t offset = 0;
  while (offset < file.size()) {
    const auto bytes = std::span(piece).first(
        std::min<std::uint64_t>(piece.size(), file.size() - offset));
    file.read(offset, bytes);
    digest.update(bytes);
    offset += bytes.size();
  }
  return digest.hex();
}

std::string sha256_while_reading(const std::filesystem::path& path,
                                 const std::function<void()>& read) {
  const std::string before = file_state(path);
  read();
  const std::string digest = sha256_file(path);
  if (file_state(path) != before) {
    throw InputError(printable(path.string(), 4096),
                     "expected the file as it was opened, found it changed");
  }
  return digest;
}

}  // namespace wush
