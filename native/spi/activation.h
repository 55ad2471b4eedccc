// Names and parameters of activations -> what the micro-kernels take.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "spi/problem.h"
#include "ukernels/kinds/activation.h"

namespace pw {

// The activation of a layer kind with its parameters in the order of the kind's attributes; nothing when no
// micro-kernel knows it. "" is clip with infinite bounds.
std::optional<ActArgs> activation(const std::string& kind, const std::vector<float>& params);

// The same for an activation that is a layer of its own.
std::optional<ActArgs> activation(const Problem& problem);

}  // namespace pw
