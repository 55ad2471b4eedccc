#include "base/cpu.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

// The build's list; a program without micro-kernels has none.
#if !defined(PW_COMPILED_TIERS)
#define PW_COMPILED_TIERS Isa::generic
#endif

namespace pw {

namespace {

struct Tier {
  Isa isa;
  const char* name;
  Isa rank;              // where it stands in the order: itself, or the tier that it is the twin of
  Isa base;              // the tier whose features it needs too
  const char* features;  // what it needs beside them
};
constexpr Tier kTiers[] = {
    {Isa::generic, "generic", Isa::generic, Isa::generic, ""},
    {Isa::avx2, "avx2", Isa::avx2, Isa::generic, "avx2 fma f16c"},
    {Isa::avx512, "avx512", Isa::avx512, Isa::avx2, "avx512f avx512bw avx512vl avx512dq"},
    {Isa::avxvnni, "avxvnni", Isa::avxvnni, Isa::avx2, "avx_vnni"},
    {Isa::vnni, "vnni", Isa::vnni, Isa::avx512, "avx512_vnni"},
    {Isa::bf16, "bf16", Isa::bf16, Isa::avx512, "avx512_bf16"},
    {Isa::fp16, "fp16", Isa::fp16, Isa::avx512, "avx512_fp16"},
    {Isa::amx, "amx", Isa::amx, Isa::avx512, "avx512_bf16 amx_tile amx_bf16 amx_int8"},
    {Isa::avx512_emulated, "avx512-emulated", Isa::avx512, Isa::avx2, "avx512f avx512bw avx512vl avx512dq"},
    {Isa::avxvnni_emulated, "avxvnni-emulated", Isa::avxvnni, Isa::avx2, "avx_vnni"},
    {Isa::vnni_emulated, "vnni-emulated", Isa::vnni, Isa::avx2, "avx512_vnni"},
    {Isa::bf16_emulated, "bf16-emulated", Isa::bf16, Isa::avx2, "avx512_bf16"},
    {Isa::fp16_emulated, "fp16-emulated", Isa::fp16, Isa::avx2, "avx512_fp16"},
    {Isa::amx_emulated, "amx-emulated", Isa::amx, Isa::avx2, "avx512_bf16 amx_tile amx_bf16 amx_int8"}};

const Tier& tier(Isa isa) { return kTiers[static_cast<int>(isa)]; }
bool emulated(Isa isa) { return tier(isa).rank != isa; }
bool contains(const std::vector<Isa>& all, Isa isa) { return std::find(all.begin(), all.end(), isa) != all.end(); }

// True when each word of `needed` is one of `words`.
bool has_words(std::string_view words, std::string_view needed) {
  const std::string all = " " + std::string(words) + " ";
  std::istringstream list{std::string(needed)};
  for (std::string word; list >> word;)
    if (all.find(" " + word + " ") == std::string::npos) return false;
  return true;
}

}  // namespace

const char* isa_name(Isa isa) { return tier(isa).name; }
const char* isa_features(Isa isa) { return tier(isa).features; }

std::optional<Isa> parse_isa(std::string_view name) {
  for (const Tier& t : kTiers)
    if (name == t.name) return t.isa;
  return std::nullopt;
}

std::vector<Isa> tiers_of(std::string_view features) {
  std::vector<Isa> found;
  // A base comes before what stands on it.
  for (const Tier& t : kTiers)
    if ((t.isa == t.base || contains(found, t.base)) && (emulated(t.isa) || has_words(features, t.features)))
      found.push_back(t.isa);
  return found;
}

std::vector<Isa> tiers_within(const std::string& cap, const std::vector<Isa>& found, const std::vector<Isa>& compiled,
                              std::string& warning) {
  const std::optional<Isa> named = parse_isa(cap);
  if (!named && !cap.empty()) {
    std::string names;
    for (const Tier& t : kTiers) names += (names.empty() ? "" : ", ") + std::string(t.name);
    warning = "PATHWEAVE_ISA=" + cap + " is not a tier (" + names + "); ignored";
  }
  const Isa limit = named ? tier(*named).rank : Isa::amx;
  const bool emulate = named && emulated(*named);
  std::vector<Isa> used;
  for (const Tier& t : kTiers)
    if (contains(found, t.isa) && contains(compiled, t.isa) && t.rank <= limit &&
        (t.rank <= Isa::avx2 || emulated(t.isa) == emulate))
      used.push_back(t.isa);
  if (emulate && contains(found, *named) && !contains(compiled, *named))
    warning = "PATHWEAVE_ISA=" + cap + " was not built: install with PATHWEAVE_EMULATED_TIERS=ON, as `make test` does";
  return used;
}

bool Cpu::uses(Isa isa) const { return contains(used, isa); }

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

// The operating system keeps tile registers only for processes that asked (Linux 5.16 on). The request holds for all
// threads of the process, those there are included, and for what they fork. A denied one leaves AMX unused.
bool tiles_granted(std::string& warning) {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, kRequest, kTileData) == 0) return true;
  warning = std::string("AMX is not used: the system refuses tile registers (") + std::strerror(errno) + ")";
  return false;
}

// Words of what the processor has, the system saves, and the cap lets us ask for.
std::string detect(const std::string& cap, std::string& warning) {
  Leaf one(1), seven(7), more(7, 1);
  std::string words;
  auto word = [&](bool present, const char* name) {
    if (present) words += (words.empty() ? "" : " ") + std::string(name);
  };
  const unsigned long long state = bit(one.c, 27) ? xcr0() : 0;
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6, tiles = (state & 0x60000) == 0x60000;
  if (ymm) {
    word(bit(seven.b, 5) && bit(seven.b, 3) && bit(seven.b, 8), "avx2");  // with BMI1 and BMI2
    word(bit(one.c, 12), "fma");
    word(bit(one.c, 29), "f16c");
    word(bit(more.a, 4), "avx_vnni");
  }
  if (zmm) {
    word(bit(seven.b, 16), "avx512f");
    word(bit(seven.b, 30), "avx512bw");
    word(bit(seven.b, 31), "avx512vl");
    word(bit(seven.b, 17), "avx512dq");
    word(bit(seven.c, 11), "avx512_vnni");
    word(bit(more.a, 5), "avx512_bf16");
    word(bit(seven.d, 23), "avx512_fp16");
  }
  const std::optional<Isa> named = parse_isa(cap);
  const bool wanted = !named || *named == Isa::amx;  // the larger register state is asked for only where it is used
  if (tiles && bit(seven.d, 24) && wanted && tiles_granted(warning)) {
    word(true, "amx_tile");
    word(bit(seven.d, 22), "amx_bf16");
    word(bit(seven.d, 25), "amx_int8");
  }
  return words;
}
#else
std::string detect(const std::string&, std::string&) { return {}; }
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

Cpu make() {
  Cpu cpu;
  const char* env = std::getenv("PATHWEAVE_ISA");
  cpu.cap = env ? env : "";
  cpu.compiled = {PW_COMPILED_TIERS};
  cpu.model = model_name();
  cpu.features = detect(cpu.cap, cpu.warning);
  cpu.found = tiers_of(cpu.features);
  caches(cpu);
  cpu.used = tiers_within(cpu.cap, cpu.found, cpu.compiled, cpu.warning);
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

// The same, as it was at most a second ago: callers ask in every call, and reading files takes longer than a small net does.
double recent_quota() {
  using Clock = std::chrono::steady_clock;
  static std::atomic<double> known{0};
  static std::atomic<Clock::rep> until{0};  // by the clock; 0: not known
  const Clock::rep now = Clock::now().time_since_epoch().count();
  if (now >= until.load(std::memory_order_acquire)) {
    known.store(quota(), std::memory_order_relaxed);
    until.store(now + Clock::duration(std::chrono::seconds(1)).count(), std::memory_order_release);
  }
  return known.load(std::memory_order_relaxed);
}

}  // namespace

const Cpu& cpu() {
  static const Cpu& instance = *new Cpu(make());
  return instance;
}

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int affinity = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, static_cast<int>(std::min<double>(affinity, std::floor(recent_quota() + 0.5))));
}

}  // namespace pw
