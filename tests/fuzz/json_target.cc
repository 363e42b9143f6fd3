// JSON, a document and one a line: nothing is accepted that nlohmann-json
// refuses, and every value can be read as what it says it is.
#include <nlohmann/json.hpp>

#include "lib/support/json.h"
#include "lib/support/unicode.h"
#include "tests/fuzz/fuzz_target.h"

namespace wush {
namespace {

// Reads every value and states its place.
void visit(const JsonValue& value) {
  WUSH_CHECK(value.where().starts_with("file"), "{}", value.where());
  WUSH_CHECK(!value.describe().empty(), "{} without words", value.where());
  switch (value.kind()) {
    case JsonKind::kArray:
      for (const JsonValue& element : value.elements()) visit(element);
      break;
    case JsonKind::kObject:
      for (const auto& [key, member] : value.members()) {
        WUSH_CHECK(value.find(key).has_value(), "member not found");
        visit(member);
      }
      break;
    case JsonKind::kString:
      WUSH_CHECK(!first_invalid_utf8(value.string()), "invalid UTF-8");
      break;
    case JsonKind::kInteger:
      testing::parse_or_refuse([&] { value.integer(); });
      testing::parse_or_refuse([&] { value.unsigned_integer(); });
      testing::parse_or_refuse([&] { value.number(); });
      break;
    case JsonKind::kNumber:
      value.number();
      break;
    case JsonKind::kBoolean:
      value.boolean();
      break;
    case JsonKind::kNull:
      break;
  }
}

void parse(std::string_view text) {
  testing::parse_or_refuse([&] {
    const JsonDocument document = JsonDocument::parse(text, "file");
    WUSH_CHECK(nlohmann::json::accept(text), "accepted what is not JSON");
    visit(document.root());
  });
}

}  // namespace
}  // namespace wush

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = wush::testing::as_text(data, size);
  wush::parse(text);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    wush::parse(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return 0;
}
