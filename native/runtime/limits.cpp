#include "runtime/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>

#include "base/buffer.h"
#include "base/error.h"
#include "base/threads.h"
#include "spi/ukernel.h"
#include "ukernels/kinds/limits.h"

namespace pw {
namespace {

int64_t now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

// What probes compute goes here, so that it must be computed.
std::atomic<uint32_t> sink{0};

// The best of `trials`: body(team) on `threads` threads, of which `prepare(team)` does not count.
template <class Prepare, class Body>
int64_t best_of(int trials, int threads, Prepare&& prepare, Body&& body) {
  int64_t best = std::numeric_limits<int64_t>::max();
  int count = threads;
  parallel(threads, [&](Team& team) {
    prepare(team);
    if (team.index == 0) count = static_cast<int>(team.count);
  });
  for (int trial = 0; trial < trials && count == threads; ++trial) {
    // Each thread by its own clock: one that is late to look at it would otherwise shorten the trial.
    std::atomic<int64_t> begin{std::numeric_limits<int64_t>::max()}, end{0};
    parallel(threads, [&](Team& team) {
      if (team.index == 0) count = static_cast<int>(team.count);
      team.barrier();
      const int64_t from = now();
      body(team);
      const int64_t to = now();
      for (int64_t first = begin; from < first && !begin.compare_exchange_weak(first, from);) {
      }
      for (int64_t last = end; to > last && !end.compare_exchange_weak(last, to);) {
      }
    });
    best = std::min(best, end.load() - begin.load());
  }
  if (count != threads)
    throw Error("limits: expected " + std::to_string(threads) + " threads, got " + std::to_string(count) +
                "; other calls of this process hold the rest: measure when they are done");
  return std::max<int64_t>(best, 1);
}

template <class Body>
const Body& probe(const char* kind, const std::string& name) {
  if (const Body* found = ukernel<Body>(kind, name)) return *found;
  throw Error("limits: no probe '" + name + "' of kind " + kind + " can be used on this machine");
}

void check(bool fine, const char* what) {
  if (!fine) throw Error(std::string("limits: ") + what);
}

void check_counts(int threads, int64_t count, int64_t trials) {
  check(threads > 0 && count > 0 && trials > 0, "threads, rounds, times, count and trials must be positive");
  if (threads > kMostThreads)
    throw Error("limits: " + std::to_string(threads) + " threads, expected at most " + std::to_string(kMostThreads));
}

}  // namespace

std::vector<LimitProbe> limit_probes() {
  std::vector<LimitProbe> all;
  for (const auto& [name, body] : ukernels_of<Peak>(PW_KIND_PEAK))
    all.push_back({PW_KIND_PEAK, name, body->dtype, body->operations});
  for (const auto& [name, body] : ukernels_of<Read>(PW_KIND_READ)) all.push_back({PW_KIND_READ, name, "", 0});
  return all;
}

int64_t time_peak(const std::string& name, int threads, int64_t rounds, int trials) {
  check_counts(threads, rounds, trials);
  const Peak& peak = probe<Peak>(PW_KIND_PEAK, name);
  // The first call of a wide instruction may wait for the unit to wake up.
  const auto run = [&](Team&) { sink.fetch_add(static_cast<uint32_t>(peak.run(rounds, 1.0f, 0.0f))); };
  return best_of(trials, threads, run, run);
}

int64_t time_read(const std::string& name, int64_t bytes, int threads, int64_t times, int trials) {
  check_counts(threads, times, trials);
  check(bytes > 0 && bytes % 4096 == 0, "the bytes must be a multiple of 4096");
  const Read& read = probe<Read>(PW_KIND_READ, name);
  std::vector<Buffer> memory;
  for (int i = 0; i < threads; ++i) memory.emplace_back(static_cast<size_t>(bytes));
  return best_of(
      trials, threads, [&](Team& team) { std::memset(memory[team.index].as<char>(), 1, static_cast<size_t>(bytes)); },
      [&](Team& team) { sink.fetch_add(read.run(memory[team.index].as<char>(), bytes, times)); });
}

int64_t time_barriers(int threads, int64_t count, int trials) {
  check_counts(threads, count, trials);
  return best_of(trials, threads, [](Team&) {}, [&](Team& team) {
    for (int64_t i = 0; i < count; ++i) team.barrier();
  });
}

}  // namespace pw
