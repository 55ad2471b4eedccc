#include "base/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pw {

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::generic: return "generic";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::avx512_emulated: return "avx512-emulated";
  }
  return "?";
}

bool Cpu::uses(Isa isa) const { return std::find(used.begin(), used.end(), isa) != used.end(); }

namespace {

#if defined(__x86_64__)
struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
  explicit Leaf(unsigned leaf, unsigned sub = 0) { __get_cpuid_count(leaf, sub, &a, &b, &c, &d); }
};

unsigned long long xcr0() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32) | low;
}

bool bit(unsigned word, int n) { return (word >> n) & 1u; }

void detect(Cpu& cpu) {
  cpu.found = {Isa::generic};
  Leaf one(1), seven(7);
  std::string words;
  auto word = [&](bool present, const char* name) {
    if (present) words += (words.empty() ? "" : " ") + std::string(name);
    return present;
  };
  const bool osxsave = bit(one.c, 27);
  const unsigned long long state = osxsave ? xcr0() : 0;
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6;
  const bool avx2 = ymm && word(bit(seven.b, 5), "avx2") & word(bit(one.c, 12), "fma") & word(bit(one.c, 29), "f16c") &
                                bit(seven.b, 3) & bit(seven.b, 8);
  const bool avx512 = zmm && word(bit(seven.b, 16), "avx512f") & word(bit(seven.b, 30), "avx512bw") &
                                  word(bit(seven.b, 31), "avx512vl") & word(bit(seven.b, 17), "avx512dq");
  if (zmm) {
    word(bit(seven.c, 11), "avx512_vnni");
    word(bit(seven.d, 23), "avx512_fp16");
    word(bit(Leaf(7, 1).a, 5), "avx512_bf16");
  }
  if (ymm) word(bit(Leaf(7, 1).a, 4), "avx_vnni");
  word(bit(seven.d, 24), "amx_tile");
  word(bit(seven.d, 22), "amx_bf16");
  word(bit(seven.d, 25), "amx_int8");
  cpu.features = words;
  if (avx2) cpu.found.push_back(Isa::avx2);
  if (avx2 && avx512) cpu.found.push_back(Isa::avx512);
  if (avx2) cpu.found.push_back(Isa::avx512_emulated);
}
#else
void detect(Cpu& cpu) { cpu.found = {Isa::generic}; }
#endif

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

void caches(Cpu& cpu) {
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    const std::string type = first_line(folder + "type"), level = first_line(folder + "level");
    const std::string size = first_line(folder + "size");
    if (size.empty() || type == "Instruction") continue;
    const size_t bytes = std::strtoull(size.c_str(), nullptr, 10) * (size.back() == 'M' ? 1 << 20 : 1 << 10);
    if (bytes == 0) continue;
    if (level == "1") cpu.l1d = bytes;
    if (level == "2") cpu.l2 = bytes;
    if (level == "3") cpu.l3 = bytes;
  }
}

std::string model_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown";
}

// Order in which a cap cuts; an emulated tier is used only when it is named.
int rank(Isa isa) { return isa == Isa::avx512_emulated ? static_cast<int>(Isa::avx512) : static_cast<int>(isa); }

void apply_cap(Cpu& cpu) {
  auto compiled = [&](Isa isa) { return std::count(cpu.compiled.begin(), cpu.compiled.end(), isa) > 0; };
  const char* env = std::getenv("PATHWEAVE_ISA");
  cpu.cap = env ? env : "";
  int limit = 1000;
  bool emulate = false;
  if (!cpu.cap.empty()) {
    limit = -1;
    for (Isa isa : {Isa::generic, Isa::avx2, Isa::avx512, Isa::avx512_emulated})
      if (cpu.cap == isa_name(isa)) limit = rank(isa), emulate = isa == Isa::avx512_emulated;
    if (limit < 0) {
      cpu.warning = "PATHWEAVE_ISA=" + cpu.cap + " is not a tier (generic, avx2, avx512, avx512-emulated); ignored";
      limit = 1000;
    }
  }
  for (Isa isa : cpu.found) {
    if (!compiled(isa) || rank(isa) > limit) continue;
    if (isa == Isa::avx512_emulated && !emulate) continue;
    if (isa == Isa::avx512 && emulate) continue;
    cpu.used.push_back(isa);
  }
}

Cpu make() {
  Cpu cpu;
  cpu.compiled = {Isa::generic};
#if defined(PW_HAS_AVX2)
  cpu.compiled.push_back(Isa::avx2);
#endif
#if defined(PW_HAS_AVX512)
  cpu.compiled.push_back(Isa::avx512);
#endif
#if defined(PW_HAS_AVX512_EMULATED)
  cpu.compiled.push_back(Isa::avx512_emulated);
#endif
  cpu.model = model_name();
  detect(cpu);
  caches(cpu);
  apply_cap(cpu);
  return cpu;
}

// Processors granted by a cgroup quota, or a large number.
double quota() {
  std::istringstream v2(first_line("/sys/fs/cgroup/cpu.max"));
  std::string limit;
  double period = 0;
  if (v2 >> limit >> period && limit != "max" && period > 0) return std::strtod(limit.c_str(), nullptr) / period;
  const double used = std::strtod(first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").c_str(), nullptr);
  const double of = std::strtod(first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us").c_str(), nullptr);
  return used > 0 && of > 0 ? used / of : 1e9;
}

}  // namespace

const Cpu& cpu() {
  static const Cpu instance = make();
  return instance;
}

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int affinity = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, static_cast<int>(std::min<double>(affinity, std::floor(quota() + 0.5))));
}

}  // namespace pw
