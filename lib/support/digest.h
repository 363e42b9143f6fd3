// SHA-256 (FIPS 180-4) through OpenSSL, as 64 lower-case hexadecimal digits.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace wush {

// Digest of bytes that arrive in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  // Digest of everything so far; the object may not be used afterwards.
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256_hex(std::string_view bytes);

// Digest of a regular file, read in pieces of 1 MiB. Throws InputError when the
// file cannot be opened or read or is not a regular file (a FIFO never blocks).
std::string sha256_file(const std::filesystem::path& path);

// Digest of a file that `read` reads by its name. Throws InputError when the
// file was written to or replaced meanwhile, so that nothing is labelled with
// the digest of a file that it was not made from.
std::string sha256_while_reading(const std::filesystem::path& path,
                                 const std::function<void()>& read);

}  // namespace wush
