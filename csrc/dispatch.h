// dispatch.h - which kernel tables were compiled in, and which one is in use.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace fastnn {

const Kernels& kernels();                   // the table in use: the best this CPU runs, until use() says otherwise
std::vector<std::string> compiled_isas();   // all that were compiled in, plainest first
std::vector<std::string> available_isas();  // those this CPU and its operating system run
bool use(const std::string& isa);           // false, and nothing changed, if that name is not available

}  // namespace fastnn
