// Stress of base/threads: several callers at once, each with regions of loops, barriers and stages whose sums must be exact.
// Arguments: callers, regions per caller, threads per region at most and at least. Prints what went wrong; exit code 1 then.
// `shares` instead: how loops of few and many pieces are divided among few and many threads.
// Build: c++ -std=c++20 -O1 -pthread -I native -I include threads_stress.cpp native/base/{threads,cpu,fork}.cpp
// and, to look for races, -fsanitize=thread.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "base/lockstep.h"
#include "base/threads.h"

namespace {

// One region: every thread must see, after each barrier, all that the others wrote before it.
bool region(int threads, int seed) {
  constexpr int kLoops = 24;
  const int64_t n = 100 + seed % 37;
  std::vector<int64_t> items(static_cast<size_t>(n), 0);  // plain memory: the barriers alone order it
  std::atomic<int> wrong{0}, parts{0};
  std::atomic<uint32_t> team_size{0};
  pw::parallel(threads, [&](pw::Team& team) {
    team_size = team.count;
    for (int loop = 0; loop < kLoops; ++loop) {
      if (loop % 3 == 2) {  // fixed shares; the next loop may be an `each` or not
        const auto [first, last] = team.share(n, 1 + seed % 5);
        for (int64_t i = first; i < last; ++i) ++items[i];
      } else {
        team.each(n, 1 + seed % 7, [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last; ++i) ++items[i];
          parts.fetch_add(1, std::memory_order_relaxed);
        });
      }
      team.barrier();
      for (int64_t i = team.index; i < n; i += team.count)
        if (items[i] != loop + 1) wrong.fetch_add(1);
      team.barrier();
    }
  });
  const int64_t grain = 1 + seed % 7, expected = (n + grain - 1) / grain * (kLoops - kLoops / 3);
  if (wrong != 0 || parts != expected || team_size < 1 || team_size > static_cast<uint32_t>(threads)) {
    std::printf("region %d: %d items wrong, %d parts, expected %d, %u threads of %d\n", seed, wrong.load(),
                parts.load(), static_cast<int>(expected), team_size.load(), threads);
    return false;
  }
  return true;
}

// A region of stages of all kinds: every stage must find in every item what the one before left there, whoever was late.
class Relay : public pw::Stages {
 public:
  Relay(int64_t items, uint32_t stages, int threads, int seed)
      : items_(static_cast<size_t>(items)), scratch_(static_cast<size_t>(threads)), ended_(stages), seed_(seed) {}

  pw::Gather run(uint32_t stage, pw::Team& team) noexcept override {
    const int64_t n = static_cast<int64_t>(items_.size());
    if (team.index > 0 && (stage * 7 + seed_) % 11 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
    switch ((stage + static_cast<uint32_t>(seed_)) % 6) {
      case 0:
        if (team.index == 0) move(stage, 0, n, team);
        return pw::Gather::first;
      case 1: {
        const auto [first, last] = team.share(n, 3);
        move(stage, first, last, team, 0);
        team.barrier();
        team.each(n, 2, [&](int64_t a, int64_t b) { move(stage, a, b, team, 1); });
        team.barrier();
        team.each(n, 5, [&](int64_t a, int64_t b) { move(stage, a, b, team, 2); });
        return pw::Gather::everyone;
      }
      case 2:  // two loops side by side
        team.each(n / 2, 1, [&](int64_t a, int64_t b) { move(stage, a, b, team); });
        team.each(n - n / 2, 4, [&](int64_t a, int64_t b) { move(stage, n / 2 + a, n / 2 + b, team); });
        return pw::Gather::pieces;
      case 3:  // all in one piece
        team.each(n, n, [&](int64_t a, int64_t b) { move(stage, a, b, team); });
        return pw::Gather::pieces;
      default:
        team.each(n, 1 + seed_ % 7, [&](int64_t a, int64_t b) { move(stage, a, b, team); });
        return pw::Gather::pieces;
    }
  }
  uint32_t next(uint32_t stage) noexcept override {
    ++ended_[stage];
    return stage + 1;
  }
  // Fetched by threads that may be the last ones to know this object.
  pw::Memory ahead(uint32_t stage, uint32_t index) const noexcept override {
    if (stage >= ended_.size() || index >= scratch_.size()) wrong_.fetch_add(1);
    return {items_.data() + index, (items_.size() - index) * sizeof(Item)};
  }
  int wrong() const {
    int wrong = wrong_;
    for (const Item& item : items_) wrong += item.stage != ended_.size();
    for (int times : ended_) wrong += times != 1;
    return wrong;
  }

 private:
  struct Item {
    uint32_t stage = 0, part = 0;  // plain memory: the ends of stages alone order it
  };
  struct alignas(64) Scratch {
    int64_t value = 0;
  };
  // Items of one stage, in its only part (-1) or one of three.
  void move(uint32_t stage, int64_t first, int64_t last, const pw::Team& team, int part = -1) {
    int64_t& mine = scratch_[team.index].value;  // must be nobody else's now
    for (int64_t i = first; i < last; ++i) {
      Item& item = items_[static_cast<size_t>(i)];
      mine = i * 1000 + stage;
      if (item.stage != stage || (part > 0 && item.part != static_cast<uint32_t>(part))) wrong_.fetch_add(1);
      if (part >= 0) item.part = static_cast<uint32_t>(part + 1) % 3;
      if (part < 0 || part == 2) item.stage = stage + 1;
      if (mine != i * 1000 + stage) wrong_.fetch_add(1);
    }
  }

  std::vector<Item> items_;
  std::vector<Scratch> scratch_;
  std::vector<int> ended_;
  mutable std::atomic<int> wrong_{0};
  int seed_;
};

bool relay(int threads, int seed) {
  // On the heap: a thread that stays in the region for too long meets memory that is gone.
  auto stages = std::make_unique<Relay>(20 + seed % 61, 40, threads, seed);
  pw::parallel(threads, 0, 40, *stages);
  if (stages->wrong()) std::printf("stages %d: %d things wrong\n", seed, stages->wrong());
  return stages->wrong() == 0;
}

// Shares that go through steps together: each share of a step is done once, and sees all of the step before.
class Together : public pw::Stages {
 public:
  Together(int64_t shares, int64_t steps, int seed)
      : state_(static_cast<size_t>(shares)), items_(static_cast<size_t>(shares)), steps_(steps), seed_(seed) {
    for (pw::LockstepShare& share : state_) share.reset();
  }
  pw::Gather run(uint32_t, pw::Team& team) noexcept override {
    const auto count = static_cast<int64_t>(items_.size());
    if (team.index > 0 && seed_ % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    team.each(count, 1, [&](int64_t own, int64_t) {
      pw::lockstep(state_.data(), count, own, steps_, pw::Patience(static_cast<int>(team.count)), [&](int64_t step, int64_t share) {
        // Late now and then, beside the share and within it.
        if ((step * 31 + share * 7 + seed_) % 41 == 0) std::this_thread::sleep_for(std::chrono::microseconds(30));
        Item& item = items_[static_cast<size_t>(share)];
        if (item.done != step) wrong_.fetch_add(1);
        for (const Item& other : items_)
          if (other.sums[step & 1] != step) wrong_.fetch_add(1);
        item.sums[(step + 1) & 1] = step + 1;
        item.done = step + 1;
      });
    });
    return pw::Gather::pieces;
  }
  int wrong() const {
    int wrong = wrong_;
    for (const Item& item : items_) wrong += item.done != steps_;
    return wrong;
  }

 private:
  struct Item {
    int64_t done = 0, sums[2] = {0, 0};  // plain memory: the steps alone order it
  };
  std::vector<pw::LockstepShare> state_;
  std::vector<Item> items_;
  const int64_t steps_;
  const int seed_;
  std::atomic<int> wrong_{0};
};

bool together(int threads, int shares, int seed, bool apart = false) {
  auto stages = std::make_unique<Together>(shares, 60, seed);
  if (apart) pw::apart(threads, 0, 1, *stages);
  else pw::parallel(threads, 0, 1, *stages);
  if (stages->wrong()) std::printf("%d shares in steps, %d: %d things wrong\n", shares, seed, stages->wrong());
  return stages->wrong() == 0;
}

// Regions inside a region, and the building helper.
bool nested(int threads) {
  std::atomic<int64_t> sum{0};
  pw::parallel(threads, [&](pw::Team& team) {
    pw::parallel(2, [&](pw::Team& inner) {
      const auto [first, last] = inner.share(1000);
      sum.fetch_add(last - first);
    });
    team.barrier();
    if (team.index == 0) pw::parallel_for(500, [&](int64_t first, int64_t last) { sum.fetch_add(last - first); });
    sum.fetch_sub(1000);
  });
  if (sum != 500) std::printf("nested regions: %lld, expected 500\n", static_cast<long long>(sum.load()));
  return sum == 500;
}

// Loops of n pieces, in which each thread does its own share and nothing else.
class Shares : public pw::Stages {
 public:
  Shares(int64_t n, int64_t grain) : n_(n), grain_(grain), times_(static_cast<size_t>(n), 0) {}
  pw::Gather run(uint32_t, pw::Team& team) noexcept override {
    const int64_t pieces = (n_ + grain_ - 1) / grain_;
    const auto own = pw::Team::own_first(pieces, team.index, team.count);
    if (own && (*own < 0 || *own >= pieces)) ++wrong;
    for (int loop = 0; loop < 2; ++loop) {
      bool begun = false;
      team.each(n_, grain_, [&](int64_t first, int64_t last) {
        // A thread begins where own_first says, and has something to do only where that says so.
        if (!begun && (!own || first != *own * grain_)) ++wrong;
        begun = true;
        if (first >= last || last > n_) ++wrong;
        for (int64_t i = first; i < last; ++i) ++times_[static_cast<size_t>(i)];
      });
      // Its share is empty or its own, unless a thread of a higher number has the same one.
      const bool owner = team.index + pw::TeamShared::kShares >= team.count;
      if (owner && begun != own.has_value()) ++wrong;
      if (!owner && begun) ++wrong;
    }
    return pw::Gather::pieces;
  }
  int finish() const {
    int all = wrong;
    for (int times : times_) all += times != 4;  // two loops in two stages
    return all;
  }
  int wrong = 0;

 private:
  const int64_t n_, grain_;
  std::vector<int> times_;
};

int shares() {
  int failures = 0;
  std::vector<int64_t> counts{100, 1000};
  for (int64_t n = 0; n <= 70; ++n) counts.push_back(n);
  std::vector<int> teams{64, 100, 128, 1024};
  for (int threads = 1; threads <= 40; ++threads) teams.push_back(threads);
  for (int64_t n : counts)
    for (int64_t grain : {1, 3})
      for (int threads : teams) {
        Shares stages(n, grain);
        pw::apart(threads, 0, 2, stages);
        if (stages.finish() == 0) continue;
        ++failures;
        std::printf("%d items by %d on %d threads: %d things wrong\n", static_cast<int>(n), static_cast<int>(grain), threads,
                    stages.finish());
      }
  for (int threads : {1, 2, 5, 16, 40})
    for (int count = 1; count <= std::min(threads, 64); count += 3) failures += !together(threads, count, count, true);
  return failures;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "shares") return shares() == 0 ? 0 : 1;
  const int callers = argc > 1 ? std::atoi(argv[1]) : 3, regions = argc > 2 ? std::atoi(argv[2]) : 300,
            threads = argc > 3 ? std::atoi(argv[3]) : 3, least = argc > 4 ? std::atoi(argv[4]) : 1;
  const auto team = [&](int number) { return least + number % (threads - least + 1); };
  std::atomic<int> failures{0};
  std::vector<std::thread> all;
  for (int c = 0; c < callers; ++c)
    all.emplace_back([&, c] {
      for (int r = 0; r < regions; ++r) {
        if (!region(team(r + c), c * regions + r)) ++failures;
        if (!relay(team(r + c), c * regions + r)) ++failures;
        if (!together(team(r + c), std::min(64, team(r + c)), c * regions + r)) ++failures;
        if (r % 50 == 0 && !nested(threads)) ++failures;
        if (r % 100 == 99) std::this_thread::sleep_for(std::chrono::milliseconds(5));  // let the workers fall asleep
      }
    });
  for (auto& t : all) t.join();
  std::printf("%d callers, %d regions each, up to %d threads: %d failures\n", callers, regions, threads,
              failures.load());
  return failures == 0 ? 0 : 1;
}
