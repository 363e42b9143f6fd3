// What every fuzz target defines, and how it states what must hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/support/error.h"

// Called by libFuzzer, or by replay.cc for every seed; returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace wush::testing {

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Runs `parse`; an InputError of one line is a proper refusal, and any other
// exception is a finding.
template <typename Parse>
void parse_or_refuse(const Parse& parse) {
  try {
    parse();
  } catch (const InputError& error) {
    const std::string_view message = error.what();
    WUSH_CHECK(message.find('\n') == std::string_view::npos,
               "a message of more than one line: {}", message);
  }
}

}  // namespace wush::testing
