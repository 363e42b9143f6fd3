// The page that holds everything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "analysis/html.h"
#include "analysis/registry.h"
#include "lib/results/reader.h"
#include "lib/support/error.h"
#include "tests/analysis/synthetic_results.h"

namespace wush {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

TEST(ReportTest, HoldsTablesFiguresConfigurationAndProvenance) {
  const testing::TemporaryFolder folder;
  const auto file = testing::store_sweep(folder.path(), {});
  const auto page =
      write_report({{file}, "", false}, folder.path() / "a" / "report");
  std::ifstream stream(page);
  std::stringstream text;
  text << stream.rdbuf();
  const std::string html = text.str();
  for (const TableInfo& info : table_registry()) {
    EXPECT_EQ(count(html, "id=\"table-" + info.name + "\""), 1u) << info.name;
  }
  for (const FigureInfo& info : figure_registry()) {
    EXPECT_EQ(count(html, "id=\"figure-" + info.name + "\""), 1u) << info.name;
  }
  EXPECT_THAT(html, HasSubstr("transform: [identity, hadamard, wush]"));
  EXPECT_THAT(html, HasSubstr("7 of 7 planned cells"));
  EXPECT_THAT(html, HasSubstr("version"));
  // Equalization and lambda are not in these results and say so.
  EXPECT_EQ(count(html, "Not drawn: "),
            std::system("command -v gnuplot >/dev/null 2>&1") == 0 ? 2u : 8u);
  EXPECT_THAT(html, Not(HasSubstr("<script"))) << "self-contained";
  EXPECT_THAT(html, Not(HasSubstr("src=\"http")));
  EXPECT_EQ(count(html, "<svg"), count(html, "</svg>"));
}

TEST(ReportTest, NeedsResults) {
  EXPECT_THROW(write_report({}, "nowhere"), InputError);
  EXPECT_FALSE(std::filesystem::exists("nowhere"));
}

TEST(HtmlTest, SvgIdsAreToldApart) {
  const std::string svg =
      "<?xml version=\"1.0\"?>\n<svg><g id='gp1'/><use xlink:href='#gp1' "
      "filter='url(#blur)'/></svg>";
  EXPECT_EQ(html_svg(svg, "toy"),
            "<svg><g id='toy-gp1'/><use xlink:href='#toy-gp1' "
            "filter='url(#toy-blur)'/></svg>");
}

TEST(HtmlTest, Escapes) {
  EXPECT_EQ(html_escape("<a href=\"&\">"), "&lt;a href=&quot;&amp;&quot;&gt;");
}

}  // namespace
}  // namespace wush
