// What it costs to go from one step to the next, apart from the work: stages that do nothing, timed by the dozen.
// Arguments: threads, regions. Prints a line per kind of stage: nanoseconds per stage, minimum and median of the regions in
// which the threads shared the pieces evenly, and how many those are: on a busy machine one thread may do all.
// Built and run by steps.py.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/threads.h"

namespace {

constexpr uint32_t kStages = 50;

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Kind {
  const char* name;
  pw::Gather gather;
  int64_t pieces;  // per thread
  int64_t spins;   // of work per piece
};

class Empty : public pw::Stages {
 public:
  explicit Empty(const Kind& kind) : kind_(kind) {}
  pw::Gather run(uint32_t stage, pw::Team& team) noexcept override {
    if (stage == 0) return pw::Gather::everyone;  // wakes the others up
    if (kind_.gather == pw::Gather::pieces)
      team.each(kind_.pieces * team.count, 1, [&](int64_t, int64_t) {
        for (int64_t i = 0; i < kind_.spins; ++i) asm volatile("");
        if (team.index == 0) ++mine_;
      });
    return kind_.gather;
  }
  uint32_t next(uint32_t stage) noexcept override {
    if (stage == 0) start_ = now();
    if (stage == kStages) end_ = now();
    return stage + 1;
  }
  // True when the first thread did its share of the pieces, give or take a fifth.
  bool even(int threads) const {
    const double share = static_cast<double>(kind_.pieces * kStages);
    return kind_.gather != pw::Gather::pieces || (mine_ < 1.2 * share && mine_ > 0.8 * share) || threads == 1;
  }
  double per_stage() const { return static_cast<double>(end_ - start_) / kStages; }

 private:
  Kind kind_;
  int64_t start_ = 0, end_ = 0, mine_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2, regions = argc > 2 ? std::atoi(argv[2]) : 300;
  const Kind kinds[] = {{"one piece per thread", pw::Gather::pieces, 1, 0},
                        {"eight pieces per thread", pw::Gather::pieces, 8, 0},
                        {"eight pieces of work per thread", pw::Gather::pieces, 8, 1000},
                        {"everyone meets", pw::Gather::everyone, 0, 0},
                        {"first thread alone", pw::Gather::first, 0, 0}};
  std::vector<std::vector<double>> times(std::size(kinds));
  for (int r = 0; r < regions; ++r)  // interleaved: what disturbs one disturbs all
    for (size_t k = 0; k < std::size(kinds); ++k) {
      Empty stages(kinds[k]);
      pw::parallel(threads, 0, kStages + 1, stages);
      if (stages.even(threads)) times[k].push_back(stages.per_stage());
    }
  for (size_t k = 0; k < std::size(kinds); ++k) {
    std::sort(times[k].begin(), times[k].end());
    if (times[k].empty()) std::printf("%-34s  no region was shared evenly\n", kinds[k].name);
    else std::printf("%-34s %8.0f %8.0f %8zu\n", kinds[k].name, times[k].front(), times[k][times[k].size() / 2],
                     times[k].size());
  }
}
