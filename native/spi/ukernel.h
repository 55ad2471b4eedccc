// Micro-kernels: plain functions over pointers for one instruction set, found by kind.
#pragma once
#include <string>
#include <vector>

#include "base/cpu.h"

namespace pw {

// One file ukernels/<isa>/<stem>.cpp defines `extern const UKernel PW_UKERNELS[]`, ended by an entry without a kind;
// PW_UKERNELS is a macro that the build sets per file. Entries are constant-initialised.
struct UKernel {
  const char* kind;  // name of the contract in ukernels/kinds/
  const char* name;  // kind_tile__isa
  const void* body;  // points to the kind's struct
};

struct UKernelTable {
  Isa isa;
  const UKernel* entries;
};

// All tables of the build (generated).
const std::vector<UKernelTable>& collected_ukernels();

// Micro-kernels of a kind that this machine may use, best tier first. With `best_only`, those of the best tier alone.
template <class Body>
std::vector<std::pair<std::string, const Body*>> ukernels_of(const std::string& kind, bool best_only = false) {
  std::vector<std::pair<std::string, const Body*>> found;
  const auto& used = cpu().used;
  for (auto isa = used.rbegin(); isa != used.rend(); ++isa) {
    for (const auto& table : collected_ukernels()) {
      if (table.isa != *isa) continue;
      for (const UKernel* k = table.entries; k->kind; ++k)
        if (kind == k->kind) found.emplace_back(k->name, static_cast<const Body*>(k->body));
    }
    if (best_only && !found.empty()) break;
  }
  return found;
}

// The body of that name; nullptr when this machine may not use it.
template <class Body>
const Body* ukernel(const std::string& kind, const std::string& name) {
  for (const auto& [n, body] : ukernels_of<Body>(kind))
    if (n == name) return body;
  return nullptr;
}

}  // namespace pw
