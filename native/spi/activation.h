// Activations by name -> what the micro-kernels take. Which there are, micro-kernels say in their tables; nothing here
// lists them.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spi/routine.h"
#include "spi/ukernel.h"
#include "ukernels/kinds/activation.h"

namespace pw {

// The activation of a layer kind with all its parameters, in the order of the kind's attributes, as any micro-kernel of the
// build takes it; nothing when none computes it, or not with these parameters. "" is clip with infinite bounds.
std::optional<ActArgs> activation(std::string_view kind, const std::vector<float>& params);

// The same for an activation that is a layer of its own.
std::optional<ActArgs> activation(const Problem& problem);

// Every layer kind that a micro-kernel of kind `ukernel` computes, in this build, each once.
std::vector<const ActivationKind*> activation_kinds(const std::string& ukernel);

// The activation of a problem's epilogue.
inline std::optional<ActArgs> epilogue_activation(const Problem& p) {
  return activation(p.epilogue.act, p.epilogue.params);
}
// Its code, for choosing micro-kernels that apply it; clip where there is none.
inline Act epilogue_act(const Problem& p) { return epilogue_activation(p).value_or(kNoActivation).act; }

// Declines an activation that no micro-kernel of kind `ukernel` applies, of those that this machine may use. Where it may use
// none of that kind, for any activation, that is left to the routine to say.
Verdict applies(const std::string& ukernel, const Epilogue& epilogue);

}  // namespace pw
