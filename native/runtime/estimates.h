// What the CPU's routines say that they do.
#pragma once
#include <optional>
#include <string>

#include "pathweave/plugin.h"
#include "spi/estimate.h"

namespace pw {

// Of a routine for an accepted problem in one of its variants; nothing where it is another device's, or does not say.
std::optional<Estimate> estimate_of(const pw_routine_table* routine, const Problem& problem, const std::string& variant);

}  // namespace pw
