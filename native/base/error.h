// The exception that building (never running) may throw; the text follows DESIGN section 6.
#pragma once
#include <stdexcept>
#include <string>

namespace pw {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace pw
