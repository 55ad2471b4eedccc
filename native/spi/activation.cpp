#include "spi/activation.h"

#include <algorithm>

namespace pw {
namespace {

bool within(Where where, float a) {
  switch (where) {
    case Where::any: return true;
    case Where::zero: return a == 0.0f;
    case Where::not_zero: return a != 0.0f;
    case Where::positive: return a > 0.0f;
  }
  return false;
}

size_t named(const ActivationKind& kind) {
  return static_cast<size_t>(std::count_if(std::begin(kind.parameters), std::end(kind.parameters),
                                           [](const char* name) { return name != nullptr; }));
}

std::optional<ActArgs> with_params(Act act, const ActivationKind& kind, const std::vector<float>& params) {
  const size_t n = named(kind);
  if (params.size() != n) return std::nullopt;
  const ActArgs args{act, n > 0 ? params[0] : kind.a, n > 1 ? params[1] : kind.b};
  return within(kind.where, args.a) ? std::optional(args) : std::nullopt;
}

// Calls body(act, kind) for what a table states, until it gives true.
template <class Body>
bool any_of(const ActivationEntry* entry, Body&& body) {
  if (!entry) return false;
  for (; entry->kinds; ++entry)
    for (const ActivationKind* kind = entry->kinds; kind->kind; ++kind)
      if (body(entry->act, *kind)) return true;
  return false;
}
template <class Body>
bool any_of_all(Body&& body) {
  for (const UKernelTable& table : collected_ukernels())
    for (const UKernel* k = table.entries; k->kind; ++k)
      if (any_of(k->activations, [&](Act act, const ActivationKind& kind) { return body(*k, act, kind); })) return true;
  return false;
}

}  // namespace

bool applies(const UKernel& ukernel, Act act) {
  return act == Act::clip || any_of(ukernel.activations, [&](Act other, const ActivationKind&) { return act == other; });
}

std::optional<ActArgs> activation(std::string_view kind, const std::vector<float>& params) {
  if (kind.empty()) return kNoActivation;
  std::optional<ActArgs> found;
  any_of_all([&](const UKernel&, Act act, const ActivationKind& stated) {
    if (kind == stated.kind) found = with_params(act, stated, params);
    return found.has_value();
  });
  return found;
}

std::optional<ActArgs> activation(const Problem& problem) {
  std::optional<ActArgs> found;
  any_of_all([&](const UKernel&, Act act, const ActivationKind& stated) {
    if (problem.kind != stated.kind) return false;
    std::vector<float> params;
    for (size_t i = 0; i < named(stated); ++i) params.push_back(static_cast<float>(problem.number(stated.parameters[i])));
    found = with_params(act, stated, params);
    return found.has_value();
  });
  return found;
}

std::vector<const ActivationKind*> activation_kinds(const std::string& ukernel) {
  std::vector<const ActivationKind*> kinds;
  any_of_all([&](const UKernel& k, Act, const ActivationKind& stated) {
    const std::string_view name = stated.kind;
    if (ukernel == k.kind && std::none_of(kinds.begin(), kinds.end(), [&](const auto* other) { return name == other->kind; }))
      kinds.push_back(&stated);
    return false;
  });
  return kinds;
}

Verdict applies(const std::string& ukernel, const Epilogue& epilogue) {
  const auto args = activation(epilogue.act, epilogue.params);
  if (args && (ukernels_of<void>(ukernel).empty() || !ukernels_of<void>(ukernel, false, args->act).empty()))
    return Verdict::ok();
  return Verdict::no("activation " + epilogue.act + " is not in the micro-kernels");
}

}  // namespace pw
