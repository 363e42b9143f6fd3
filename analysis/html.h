// Pieces of the report's page.
#pragma once

#include <string>

#include "analysis/table.h"

namespace wush {

std::string html_escape(const std::string& text);

// The table with its sections, notes and what is missing; best values are
// marked.
std::string html_table(const Table& table);

// An SVG document as an element of a page: without its prolog, and with every
// id prefixed, so that several drawings can stand in one page.
std::string html_svg(const std::string& svg, const std::string& prefix);

// A page around a body, with its style; needs nothing else.
std::string html_page(const std::string& title, const std::string& body);

}  // namespace wush
