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
#include "types/format.h"

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
  if (!t->probe || !t->open || !t->close || !t->allocate || !t->release || !t->upload || !t->download ||
      !t->stream_create || !t->stream_destroy || !t->stream_synchronise || !t->event_record || !t->event_wait ||
      !t->now || !t->capabilities || !t->routine_count || !t->routine)
    return "its table has a null function";
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

DevicePtr load_plugin(const std::string& path) {
  std::error_code code;
  if (!std::filesystem::exists(path, code)) return std::make_shared<const Device>(path, "there is no such file");
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = dlerror();
    return std::make_shared<const Device>(path, std::string("it cannot be loaded: ") + (why ? why : "unknown reason"));
  }
  auto fail = [&](const std::string& reason) {
    dlclose(library);
    return std::make_shared<const Device>(path, reason);
  };
  const auto entry = reinterpret_cast<pw_device_entry>(dlsym(library, "pathweave_device"));
  if (!entry) return fail("it exports no function pathweave_device");
  const pw_device_table* table = entry(PW_ABI);
  if (!table) return fail("it refuses ABI " + std::to_string(PW_ABI));
  auto device = std::make_shared<const Device>(path, table);
  // The library of a failed device is closed: the next try may find another file at this path.
  if (!device->available()) dlclose(library);
  return device;
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
  emulated_ = table->emulated != 0;
  host_memory_ = table->host_memory != 0;
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
      return;
    }
    routines_.push_back({routine, missing_capability(routine->requires_, capabilities_)});
  }
}

void* Device::allocate(uint64_t bytes) const {
  void* memory = nullptr;
  if (table_->allocate(handle_, bytes, &memory) != 0 || !memory) throw std::bad_alloc();
  return memory;
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

DevicePtr open_plugin(const std::string& path) {
  std::error_code code;
  std::string full = std::filesystem::weakly_canonical(path, code).string();
  if (code || full.empty()) full = "./" + path;
  Registry& registry = Registry::get();
  // Two callers of one path must not open it twice.
  std::lock_guard opening(registry.opening);
  std::vector<DevicePtr> all = devices();
  const auto known = std::find_if(all.begin(), all.end(), [&](const DevicePtr& d) { return d->path() == full; });
  if (known != all.end() && (*known)->available()) return *known;
  DevicePtr device = load_plugin(full);
  for (const auto& other : all)
    if (device->available() && other->available() && other->name() == device->name()) {
      device->table()->close(device->handle());
      device = std::make_shared<const Device>(
          full, "a device named " + other->name() + " is open already" +
                    (other->is_cpu() ? "" : " (from " + other->path() + ")"));
    }
  if (known != all.end()) *known = device;
  else all.push_back(device);
  std::lock_guard lock(registry.mutex);
  registry.all = std::move(all);
  return device;
}

const char* clock_name(uint32_t clock) {
  static constexpr const char* names[] = {"wall", "event", "packets", "scripted"};
  return clock <= PW_CLOCK_SCRIPTED ? names[clock] : "unknown";
}

}  // namespace pw
