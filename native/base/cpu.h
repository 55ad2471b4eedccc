// What the processor and the operating system allow, and the cap that the user set.
#pragma once
#include <string>
#include <vector>

namespace pw {

// Instruction-set tiers; a folder of ukernels/ each. Emulated tiers run a wider tier's sources on narrower
// instructions: they prove that the kernels are right, never that they are fast.
enum class Isa { generic, avx2, avx512, avx512_emulated };

const char* isa_name(Isa isa);

struct Cpu {
  std::vector<Isa> found;     // what the machine can run
  std::vector<Isa> compiled;  // what this build holds
  std::vector<Isa> used;      // found, compiled and within PATHWEAVE_ISA
  std::string cap;            // value of PATHWEAVE_ISA, "" when unset
  std::string warning;        // why the cap was ignored, "" when it was not
  std::string model;
  std::string features;       // space-separated words: avx2 fma avx512f amx_bf16 ...
  size_t l1d = 32 << 10, l2 = 512 << 10, l3 = 8 << 20;  // bytes, per instance
  bool uses(Isa isa) const;
};

// Detected once per process.
const Cpu& cpu();

// Processors that this process may use: affinity and the container's quota, at least 1.
int usable_processors();

}  // namespace pw
