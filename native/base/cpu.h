// What the processor and the operating system allow, and the cap that the user set.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pw {

// Instruction-set tiers, each a folder of ukernels/; the ones above avx512 are units that a machine may have or lack one
// by one (avxvnni even without avx512). The order says which is preferred and what a cap cuts. An emulated twin runs the
// sources of its tier on AVX2, the unit's instructions written as loops: it proves that the kernels are right, never that
// they are fast.
enum class Isa {
  generic, avx2, avx512, avxvnni, vnni, bf16, fp16, amx,
  avx512_emulated, avxvnni_emulated, vnni_emulated, bf16_emulated, fp16_emulated, amx_emulated
};

const char* isa_name(Isa isa);  // amx-emulated
std::optional<Isa> parse_isa(std::string_view name);

// What the system lets us use of a tier's unit: words as in Cpu::features, separated by a space. A twin has its tier's.
const char* isa_features(Isa isa);

struct Cpu {
  std::vector<Isa> found;     // what the machine can run
  std::vector<Isa> compiled;  // what this build holds
  std::vector<Isa> used;      // found, compiled and within PATHWEAVE_ISA, in rising order
  std::string cap;            // value of PATHWEAVE_ISA, "" when unset
  std::string warning;        // why the cap was ignored or a unit is not used, "" when there is nothing to say
  std::string model;
  std::string features;       // space-separated words: avx2 fma avx512f amx_bf16 ...
  size_t l1d = 32 << 10, l2 = 512 << 10, l3 = 8 << 20;  // bytes, per instance
  bool uses(Isa isa) const;
};

// The tiers that a machine with these features can run, twins among them.
std::vector<Isa> tiers_of(std::string_view features);

// Those of `found` that are compiled and within `cap` (a tier's name, "" = none), in rising order. A cap that names a
// twin takes twins for every tier above avx2; without one no twin is used. An unknown cap is ignored with a warning.
std::vector<Isa> tiers_within(const std::string& cap, const std::vector<Isa>& found, const std::vector<Isa>& compiled,
                              std::string& warning);

// Detected once per process.
const Cpu& cpu();

// Processors that this process may use: affinity and the container's quota, at least 1.
int usable_processors();

}  // namespace pw
