#include "runtime/transfers.h"

#include <cerrno>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "runtime/device.h"
#include "spi/problem.h"

namespace pw {
namespace {

const Transfer& transfer_of(const pw_routine_table* table) { return *static_cast<const Transfer*>(table->context); }

// Throws Error with the reason why it declines; gives the bytes to be copied.
uint64_t judge(const Transfer& t, const Problem& problem) {
  const Format source = parse_format(problem.word("source")), target = parse_format(problem.word("target"));
  const std::string& name = t.device->name();
  if (source.device != (t.up ? t.cpu : name) || target.device != (t.up ? name : t.cpu))
    throw Error("moves between other devices");
  if (source.dtype != target.dtype || source.layout != target.layout) throw Error("moves values as they are");
  const Dims& sizes = problem.in.at(0).shape;
  const uint64_t bytes = bytes_of(source.dtype, sizes);
  if (t.device->buffer_bytes(t.up ? target : source, sizes) != bytes)
    throw Error("the device pads such values; a transfer of its own must know how");
  return bytes;
}

// Calls body() and turns what it throws into a code and a reason.
template <class Body>
int guarded(char* reason, size_t size, Body&& body) noexcept {
  try {
    body();
    return 0;
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  } catch (const std::exception& e) {
    if (reason && size) std::snprintf(reason, size, "%s", e.what());
    return 1;
  }
}

int accepts(const pw_routine_table* table, const char* text, char* reason, size_t size) {
  return guarded(reason, size, [&] { judge(transfer_of(table), Problem::parse(text)); });
}

int variants(const pw_routine_table*, const char*, void* context, pw_emit emit) {
  emit(context, "");
  return 0;
}

int ports(const pw_routine_table*, const char* text, void* context, pw_emit emit) {
  return guarded(nullptr, 0, [&] {
    const Problem problem = Problem::parse(text);
    const std::string line = "in=" + std::string(problem.word("source")) + " out=" + std::string(problem.word("target"));
    emit(context, line.c_str());
  });
}

struct Copy {
  const Device* device;
  uint64_t bytes;
};

int run(void* self, const pw_context* c) {
  const Copy& copy = *static_cast<const Copy*>(self);
  return copy.device->table()->copy(copy.device->handle(), c->queue, c->out[0], c->in[0], copy.bytes, c->step);
}

int prepare(const pw_routine_table* table, const char* text, const char* variant, const pw_constant*, uint32_t,
            pw_kernel* kernel, char* reason, size_t size) {
  return guarded(reason, size, [&] {
    if (*variant) throw Error("there is one variant, without a name");
    const Transfer& t = transfer_of(table);
    kernel->self = new Copy{t.device, judge(t, Problem::parse(text))};
    kernel->serial = 1;
    kernel->run = run;
    kernel->destroy = [](void* self) { delete static_cast<Copy*>(self); };
  });
}

}  // namespace

std::vector<std::unique_ptr<Transfer>> transfers_of(const Device& device, const std::string& cpu) {
  std::vector<std::unique_ptr<Transfer>> all;
  for (const bool up : {true, false}) {
    auto& t = *all.emplace_back(std::make_unique<Transfer>());
    t.device = &device;
    t.up = up;
    t.id = (up ? "adapt/upload:any:" : "adapt/download:any:") + device.name();
    t.cpu = cpu;
    t.table = {sizeof(pw_routine_table), 1, t.id.c_str(), "adapt", "", PW_STRICT, 0, &t, accepts, variants, ports, prepare};
  }
  return all;
}

}  // namespace pw
