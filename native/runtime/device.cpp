#include "runtime/device.h"

#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/fork.h"
#include "base/size.h"

namespace pw {
namespace {

constexpr size_t kReason = 1024;

// What is wrong with a table before any of its functions is called; "" when nothing is.
std::string check_table(const pw_device_table* t) {
  if (t->abi != PW_ABI)
    return "it was built for ABI " + std::to_string(t->abi) + ", this build speaks " + std::to_string(PW_ABI);
  if (t->size < sizeof(pw_device_table))
    return "its table has " + std::to_string(t->size) + " bytes, expected at least " +
           std::to_string(sizeof(pw_device_table));
  if (!t->name || !*t->name || std::string(t->name).find_first_of(": \t\n,>@") != std::string::npos)
    return "its name is not a word";
  if (!t->probe || !t->open || !t->close || !t->identity || !t->capabilities || !t->now || !t->routine_count ||
      !t->routine || !t->allocate || !t->release)
    return "its table has a null function";
  if (!(t->flags & PW_DEVICE_HOST) &&
      (!t->memory_info || !t->buffer_bytes || !t->queue_create || !t->queue_destroy || !t->queue_wait ||
       !t->queue_wait_event || !t->copy || !t->event_create || !t->event_destroy || !t->event_record || !t->event_wait ||
       !t->event_time))
    return "its table has a null function, which only a device on the host's memory may have";
  if (t->copy_queues > 2) return "it wants " + std::to_string(t->copy_queues) + " queues for copies, expected at most 2";
  if (t->clock > PW_CLOCK_SCRIPTED) return "its clock " + std::to_string(t->clock) + " is not known";
  return {};
}

bool complete(const pw_routine_table* r) {
  return r && r->size >= sizeof(pw_routine_table) && r->id && r->layer && r->requires_ && r->accepts && r->variants &&
         r->ports && r->prepare;
}

// The first required word that the device lacks, as a sentence.
std::string missing_capability(const std::string& required, const std::string& capabilities) {
  if (required.empty()) return {};
  const auto have = split(capabilities, ' ');
  for (auto word : split(required, '+'))
    if (!word.empty() && std::find(have.begin(), have.end(), word) == have.end())
      return "requires " + std::string(word) + ", which the device does not have";
  return {};
}

struct Registry {
  ForkMutex mutex;     // of the list
  std::mutex opening;  // held while a plugin opens
  std::vector<DevicePtr> all{std::make_shared<const Device>("", cpu_device_table())};
  // Never destroyed: kernels may be released while the process ends.
  static Registry& get() {
    static Registry& registry = *[] {
      pthread_atfork(nullptr, nullptr, [] { new (&get().opening) std::mutex; });  // nobody opens anything in a forked child
      return new Registry;
    }();
    return registry;
  }
};

using Devices = std::vector<DevicePtr>;

// The device of a table: the one that is open already, or a new one, with a reason where another has its name.
DevicePtr take_device(const std::string& path, const pw_device_table* table, const Devices& open) {
  const auto same = std::find_if(open.begin(), open.end(), [&](const DevicePtr& d) { return d->table() == table; });
  if (table && same != open.end()) return *same;
  DevicePtr device = table ? std::make_shared<const Device>(path, table)
                           : std::make_shared<const Device>(path, "its list has no table for it");
  for (const auto& other : open)
    if (device->available() && other->available() && other->name() == device->name()) {
      device->table()->close(device->handle());
      return std::make_shared<const Device>(path, "a device named " + other->name() + " is open already" +
                                                      (other->path().empty() ? "" : " (from " + other->path() + ")"));
    }
  return device;
}

// The devices of a library, beside those that are open.
Devices load_plugin(const std::string& path, Devices open) {
  const auto refused = [&](const std::string& reason) { return Devices{std::make_shared<const Device>(path, reason)}; };
  std::error_code code;
  if (!std::filesystem::exists(path, code)) return refused("there is no such file");
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = dlerror();
    return refused(std::string("it cannot be loaded: ") + (why ? why : "unknown reason"));
  }
  const auto fail = [&](const std::string& reason) {
    dlclose(library);
    return refused(reason);
  };
  const auto entry = reinterpret_cast<pw_devices_entry>(dlsym(library, "pathweave_devices"));
  if (!entry && dlsym(library, "pathweave_device"))
    return fail("it was built for ABI 1, this build speaks " + std::to_string(PW_ABI));
  if (!entry) return fail("it exports no function pathweave_devices");
  uint32_t count = 0;
  const pw_device_table* const* tables = entry(PW_ABI, &count);
  if (!tables) return fail("it refuses ABI " + std::to_string(PW_ABI));
  if (count == 0) return fail("it offers no device");
  Devices found;
  for (uint32_t i = 0; i < count; ++i) {
    found.push_back(take_device(path, tables[i], open));
    if (found.back()->available()) open.push_back(found.back());
  }
  // A library without a device is closed: the next try may find another file at this path.
  if (std::none_of(found.begin(), found.end(), [](const DevicePtr& d) { return d->available(); })) dlclose(library);
  return found;
}

}  // namespace

Device::Device(std::string path, const pw_device_table* table) : path_(std::move(path)) {
  if (load(table)) list_routines();
}

Device::Device(std::string path, std::string reason) : path_(std::move(path)), reason_(std::move(reason)) {}

bool Device::load(const pw_device_table* table) {
  reason_ = check_table(table);
  if (!reason_.empty()) return false;
  name_ = table->name;
  description_ = table->description ? table->description : "";
  clock_ = table->clock;
  flags_ = table->flags;
  forks_ = forks();
  char reason[kReason] = "";
  score_ = table->probe(reason, sizeof reason);
  if (score_ <= 0) {
    reason_ = *reason ? reason : "its probe gave " + std::to_string(score_) + " without a reason";
    return false;
  }
  *reason = '\0';
  if (const int code = table->open(&handle_, reason, sizeof reason); code != 0) {
    reason_ = std::string("it cannot be opened: ") + (*reason ? reason : "code " + std::to_string(code));
    return false;
  }
  const char* identity = table->identity(handle_);
  identity_ = identity ? identity : "";
  const char* words = table->capabilities(handle_);
  capabilities_ = words ? words : "";
  table_ = table;
  return true;
}

void Device::list_routines() {
  const uint32_t count = table_->routine_count(handle_);
  for (uint32_t i = 0; i < count; ++i) {
    const pw_routine_table* routine = table_->routine(handle_, i);
    if (!complete(routine)) {
      reason_ = "its routine " + std::to_string(i) + " has an incomplete table";
      table_->close(handle_);
      table_ = nullptr;
      routines_.clear();
      by_id_.clear();
      return;
    }
    by_id_.emplace(routine->id, routines_.size());  // the first of equal ids
    routines_.push_back({routine, missing_capability(routine->requires_, capabilities_)});
  }
  if (host()) return;
  transfers_ = transfers_of(*this, cpu_device_table()->name);
  for (const auto& transfer : transfers_) {
    by_id_.emplace(transfer->table.id, routines_.size());
    routines_.push_back({&transfer->table, ""});
  }
}

bool Device::here() const noexcept { return host() || forks_ == forks(); }

std::optional<std::pair<uint64_t, uint64_t>> Device::memory(uint32_t kind) const noexcept {
  uint64_t free = 0, total = 0;
  if (!table_->memory_info || table_->memory_info(handle_, kind, &free, &total) != 0) return {};
  return std::pair(free, total);
}

uint64_t bytes_of(DType dtype, const Dims& shape) {
  int64_t bytes = static_cast<int64_t>(size_of(dtype));
  for (int64_t d : shape) bytes = times(bytes, d, "bytes of a value");
  return static_cast<uint64_t>(bytes);
}

uint64_t buffer_bytes(const Format& format, const Dims& sizes) {
  return find_device(format.device)->buffer_bytes(format, sizes);
}

void* Device::allocate(uint32_t kind, uint64_t bytes) const {
  static constexpr const char* kinds[] = {"", "visible ", "pinned "};
  const auto full = [&](const std::string& more) {
    return DeviceFull("device " + name_ + " has no " + std::to_string(bytes) + " bytes of " + kinds[kind] + "memory" + more);
  };
  const auto known = memory(kind);
  if (known && known->first < bytes)
    throw full(": " + std::to_string(known->first) + " of " + std::to_string(known->second) + " bytes are free");
  void* memory = nullptr;
  if (table_->allocate(handle_, kind, bytes, &memory) != 0 || !memory) throw full("");
  return memory;
}

uint64_t Device::buffer_bytes(const Format& format, const Dims& sizes) const {
  if (!table_->buffer_bytes) return bytes_of(format.dtype, sizes);
  const std::string name = text(format);
  const uint64_t bytes = table_->buffer_bytes(handle_, name.c_str(), sizes.data(), static_cast<uint32_t>(sizes.size()));
  if (bytes < bytes_of(format.dtype, sizes)) throw Error("device " + name_ + " holds no value in format " + name);
  return bytes;
}

std::vector<DevicePtr> devices() {
  Registry& registry = Registry::get();
  std::lock_guard lock(registry.mutex);
  return registry.all;
}

DevicePtr cpu_device() { return devices().front(); }

DevicePtr find_device(const std::string& name) {
  std::string names;
  for (const auto& device : devices()) {
    if (!device->available()) continue;
    if (device->name() == name) return device;
    names += (names.empty() ? "" : ", ") + device->name();
  }
  throw Error("device '" + name + "' is not open; expected one of " + names);
}

std::vector<DevicePtr> open_plugin(const std::string& path) {
  std::error_code code;
  std::string full = std::filesystem::weakly_canonical(path, code).string();
  if (code || full.empty()) full = "./" + path;
  Registry& registry = Registry::get();
  // Two callers of one path must not open it twice.
  std::lock_guard opening(registry.opening);
  Devices all = devices(), known;
  for (const auto& device : all)
    if (device->path() == full) known.push_back(device);
  const auto available = [](const DevicePtr& d) { return d->available(); };
  if (!known.empty() && std::all_of(known.begin(), known.end(), available)) return known;
  Devices open = all;
  std::erase_if(open, [&](const DevicePtr& d) { return !d->available(); });
  const Devices found = load_plugin(full, std::move(open));
  // They stand where the devices of this library stood before.
  const auto at = std::find_if(all.begin(), all.end(), [&](const DevicePtr& d) { return d->path() == full; }) - all.begin();
  std::erase_if(all, [&](const DevicePtr& d) { return d->path() == full; });
  all.insert(all.begin() + at, found.begin(), found.end());
  std::lock_guard lock(registry.mutex);
  registry.all = std::move(all);
  return found;
}

const char* clock_name(uint32_t clock) {
  static constexpr const char* names[] = {"wall", "event", "packets", "scripted"};
  return clock <= PW_CLOCK_SCRIPTED ? names[clock] : "unknown";
}

}  // namespace pw
