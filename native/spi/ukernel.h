// Micro-kernels: plain functions over pointers for one instruction set, found by kind.
#pragma once
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "ukernels/kinds/activation.h"

namespace pw {

// One file ukernels/<isa>/<stem>.cpp defines `extern const UKernel PW_UKERNELS[]`, ended by an entry without a kind;
// PW_UKERNELS is a macro that the build sets per file. Entries are constant-initialised.
struct UKernel {
  const char* kind;  // name of the contract in ukernels/kinds/
  const char* name;  // kind_tile__isa
  const void* body;  // points to the kind's struct
  const ActivationEntry* activations = nullptr;  // that it can apply to its results; nullptr = none but clip
};

struct UKernelTable {
  Isa isa;
  const UKernel* entries;
};

// All tables of the build (generated).
const std::vector<UKernelTable>& collected_ukernels();

// Whether its table says that it applies `act`. Nothing asks a kind without activations for more than clip.
bool applies(const UKernel& ukernel, Act act);

// Micro-kernels of a kind that this machine may use and that apply `act`, best tier first. With `best_only`, those of the best
// tier that has one.
template <class Body>
std::vector<std::pair<std::string, const Body*>> ukernels_of(const std::string& kind, bool best_only = false,
                                                             Act act = Act::clip) {
  std::vector<std::pair<std::string, const Body*>> found;
  const auto& used = cpu().used;
  for (auto isa = used.rbegin(); isa != used.rend(); ++isa) {
    for (const auto& table : collected_ukernels()) {
      if (table.isa != *isa) continue;
      for (const UKernel* k = table.entries; k->kind; ++k)
        if (kind == k->kind && applies(*k, act)) found.emplace_back(k->name, static_cast<const Body*>(k->body));
    }
    if (best_only && !found.empty()) break;
  }
  return found;
}

// Names of what the functions below hand out in this thread while the recorder lives: the micro-kernels that a prepared
// kernel runs on. Recorders may not nest.
class UKernelRecorder {
 public:
  UKernelRecorder();
  UKernelRecorder(const UKernelRecorder&) = delete;
  ~UKernelRecorder();
  static void note(const std::string& name);
  std::vector<std::string> names;  // each once
};

// The body of that name; nullptr when this machine may not use it.
template <class Body>
const Body* ukernel(const std::string& kind, const std::string& name) {
  for (const auto& [n, body] : ukernels_of<Body>(kind)) {
    if (n != name) continue;
    UKernelRecorder::note(name);
    return body;
  }
  return nullptr;
}

// Names of those of the best tier: the variants of a routine that has one per micro-kernel.
inline std::vector<std::string> ukernel_names(const std::string& kind, Act act = Act::clip) {
  std::vector<std::string> names;
  for (const auto& [name, body] : ukernels_of<void>(kind, true, act)) names.push_back(name);
  return names;
}

// The first of the best tier. Throws Error when this build holds none for this machine.
template <class Body>
const Body& best_ukernel(const std::string& kind, Act act = Act::clip) {
  const auto found = ukernels_of<Body>(kind, true, act);
  if (found.empty()) throw Error("micro-kernel kind " + kind + ": this build holds none for this machine");
  UKernelRecorder::note(found.front().first);
  return *found.front().second;
}

// A variant's micro-kernel; "" is the best one. Throws Error when this machine may not use it.
template <class Body>
const Body& variant_ukernel(const std::string& kind, const std::string& variant) {
  if (variant.empty()) return best_ukernel<Body>(kind);
  const Body* body = ukernel<Body>(kind, variant);
  if (!body) throw Error("variant '" + variant + "': expected a micro-kernel of kind " + kind + " for this machine");
  return *body;
}

}  // namespace pw
