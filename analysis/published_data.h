// The files results/published/*.yaml, built into the program so that it can be
// run from anywhere.
#pragma once

#include <string_view>

namespace wush {

std::string_view published_wush_yaml();    // the WUSH paper
std::string_view published_others_yaml();  // other papers

}  // namespace wush
