// The CPU behind the plugin contract: a device table whose routines are the collected ones.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "runtime/device.h"
#include "runtime/estimates.h"
#include "runtime/rooms.h"
#include "spi/routine.h"

namespace pw {
namespace {

const Routine& routine_of(const pw_routine_table* table) { return *static_cast<const Routine*>(table->context); }

void say(char* reason, size_t size, const char* text) {
  if (reason && size) std::snprintf(reason, size, "%s", text);
}

// Calls body() and turns what it throws into a code and a reason.
template <class Body>
int guarded(char* reason, size_t size, Body&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    say(reason, size, "out of memory");
    return ENOMEM;
  } catch (const std::exception& e) {
    say(reason, size, *e.what() ? e.what() : "unknown error");
    return 1;
  } catch (...) {
    say(reason, size, "unknown error");
    return 1;
  }
}

Verdict judge(const Routine& routine, const Problem& problem) {
  if (problem.kind != routine.card().layer)
    return Verdict::no("computes " + routine.card().layer + ", not " + problem.kind);
  if (problem.epilogue && !routine.card().takes_epilogue) return Verdict::no("takes no epilogue");
  return routine.accepts(problem);
}

int cpu_accepts(const pw_routine_table* table, const char* text, char* reason, size_t size) {
  return guarded(reason, size, [&] {
    const Verdict verdict = judge(routine_of(table), *Problem::shared(text));
    if (verdict) return 0;
    say(reason, size, verdict.reason.c_str());
    return 1;
  });
}

int cpu_variants(const pw_routine_table* table, const char* text, void* context, pw_emit emit) {
  return guarded(nullptr, 0, [&] {
    for (const auto& variant : routine_of(table).variants(*Problem::shared(text))) emit(context, variant.c_str());
    return 0;
  });
}

int cpu_ports(const pw_routine_table* table, const char* text, void* context, pw_emit emit) {
  return guarded(nullptr, 0, [&] {
    emit(context, routine_of(table).ports(*Problem::shared(text)).text().c_str());
    return 0;
  });
}

// The kernel and the problem that it may refer to.
struct Bound {
  std::shared_ptr<const Problem> problem;
  std::unique_ptr<Kernel> kernel;
};

int run_bound(void* self, const pw_context* c) {
  // A host kernel is always handed a Team; the C part is what other languages see of it.
  return static_cast<Bound*>(self)->kernel->run(
      Context{c->in, c->out, c->in_sizes, c->out_sizes, c->workspace, *static_cast<Team*>(c->team), c});
}

int bound_open(const void* self, uint32_t port, uint32_t axis) {
  return static_cast<const Bound*>(self)->kernel->open(port, axis) ? 1 : 0;
}

void bound_reads_first(const void* self, uint64_t phase, uint32_t index, uint32_t count, const void** data, uint64_t* bytes) {
  const Memory first = static_cast<const Bound*>(self)->kernel->reads_first(static_cast<int64_t>(phase), index, count);
  *data = first.data;
  *bytes = first.bytes;
}

int cpu_prepare(const pw_routine_table* table, const char* text, const char* variant, const pw_constant* constants,
                uint32_t count, pw_kernel* kernel, char* reason, size_t size) {
  return guarded(reason, size, [&] {
    auto bound = std::make_unique<Bound>();
    bound->problem = Problem::shared(text);
    if (const Verdict verdict = judge(routine_of(table), *bound->problem); !verdict) throw Error(verdict.reason);
    const size_t expected = bound->problem->in.size() + bound->problem->out.size();
    if (count != expected)
      throw Error("expected " + std::to_string(expected) + " constants (null for values), got " + std::to_string(count));
    Constants given;
    for (uint32_t i = 0; i < count; ++i) {
      const pw_constant& c = constants[i];
      if (c.data) given.push_back({.data = c.data, .id = c.id});
      else given.push_back({.scale = c.scale, .zero_point = c.zero_point, .dtype = c.dtype ? parse_dtype(c.dtype) : DType::u8,
                            .axis = c.axis, .scales = {c.scales, c.count}, .zero_points = {c.zero_points, c.count}});
    }
    bound->kernel = routine_of(table).prepare(*bound->problem, variant, given);
    if (!bound->kernel) throw Error("no kernel was made");
    kernel->size = sizeof *kernel;
    kernel->serial = bound->problem->threads == 1;
    kernel->phases = static_cast<uint64_t>(bound->kernel->phases());
    kernel->workspace_bytes = bound->kernel->workspace_bytes();
    kernel->packed_bytes = bound->kernel->packed_bytes();
    kernel->run = run_bound;
    kernel->reads_first = bound_reads_first;
    kernel->open = bound_open;
    kernel->destroy = [](void* self) { delete static_cast<Bound*>(self); };
    kernel->self = bound.release();
    return 0;
  });
}

pw_routine_table table_of(const Routine& routine) {
  const Card& card = routine.card();
  pw_routine_table t{};
  t.size = sizeof t;
  t.version = static_cast<uint32_t>(card.version);
  t.id = card.id.c_str();
  t.layer = card.layer.c_str();
  t.requires_ = card.requires_.c_str();
  t.accuracy = static_cast<uint32_t>(card.accuracy);
  if (card.reference) t.flags |= PW_ROUTINE_REFERENCE;
  if (card.takes_epilogue) t.flags |= PW_ROUTINE_TAKES_EPILOGUE;
  if (card.axis_scales) t.flags |= PW_ROUTINE_AXIS_SCALES;
  t.context = &routine;
  t.accepts = cpu_accepts;
  t.variants = cpu_variants;
  t.ports = cpu_ports;
  t.prepare = cpu_prepare;
  return t;
}

const std::vector<pw_routine_table>& routine_tables() {
  static const auto& tables = *[] {
    auto* all = new std::vector<pw_routine_table>;
    for (const auto& routine : collected_routines()) all->push_back(table_of(*routine));
    return all;
  }();
  return tables;
}

// The tiers in use, and their features: the machine's, or those that a twin stands in for.
const std::string& capability_words() {
  static const auto& words = *[] {
    auto* made = new std::string;
    std::string& all = *made;
    for (Isa isa : cpu().used) {
      all += (all.empty() ? "" : " ") + std::string(isa_name(isa));
      for (auto word : split(isa_features(isa), ' ')) {
        const auto said = split(all, ' ');
        if (!word.empty() && std::find(said.begin(), said.end(), word) == said.end()) all += " " + std::string(word);
      }
    }
    return made;
  }();
  return words;
}

int cpu_allocate(void*, uint32_t, uint64_t bytes, void** memory) {
  *memory = allocate(bytes);
  return *memory ? 0 : ENOMEM;
}

uint64_t wall_clock(void*) {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
}

pw_device_table make_table() {
  pw_device_table t{};
  t.size = sizeof t;
  t.abi = PW_ABI;
  t.name = "cpu";
  t.description = cpu().model.c_str();
  t.clock = PW_CLOCK_WALL;
  t.flags = PW_DEVICE_HOST | PW_DEVICE_THREADS;
  t.probe = [](char*, size_t) { return 1; };
  t.open = [](void** device, char*, size_t) {
    *device = nullptr;
    return 0;
  };
  t.close = [](void*) {};
  t.identity = [](void*) { return ""; };  // the fingerprint of the host says it
  t.allocate = cpu_allocate;
  t.release = [](void*, uint32_t, void* memory) { release(memory); };
  t.now = wall_clock;
  t.capabilities = [](void*) { return capability_words().c_str(); };
  t.routine_count = [](void*) { return static_cast<uint32_t>(routine_tables().size()); };
  t.routine = [](void*, uint32_t index) -> const pw_routine_table* {
    return index < routine_tables().size() ? &routine_tables()[index] : nullptr;
  };
  return t;
}

}  // namespace

std::optional<Estimate> estimate_of(const pw_routine_table* table, const Problem& problem, const std::string& variant) {
  if (table->prepare != cpu_prepare) return {};
  const auto* says = dynamic_cast<const Estimating*>(&routine_of(table));
  return says ? std::optional(says->estimate(problem, variant)) : std::nullopt;
}

int room_of(const pw_kernel& kernel, size_t port) {
  if (kernel.run != run_bound) return -1;
  const auto* takes = dynamic_cast<const TakesRoom*>(static_cast<const Bound*>(kernel.self)->kernel.get());
  return takes ? takes->room(port) : -1;
}

const pw_device_table* cpu_device_table() {
  static const pw_device_table table = make_table();
  return &table;
}

}  // namespace pw
