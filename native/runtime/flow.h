// FlowSession: a session over a plan with sizes that are known when it runs, or with branches and loops.
//
// It runs stages of one parallel region, as a session of a straight plan does, but which stage comes next is decided when
// one is over, by the thread that ended it. Stages are numbered on and on; a ring says what the last ones were. Everything
// that threads may look at while they are late for a stage (addresses, sizes, kernels) is changed between two stages to
// which every thread has come, and at no other time.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/session.h"

namespace pw {

class FlowSession final : public Session {
 public:
  explicit FlowSession(std::shared_ptr<const Plan> plan);
  const void* late(size_t index, Dims& sizes) const override;
  const std::vector<int64_t>* counts() const override { return &counts_; }
  std::vector<int64_t> symbols() const override;
  std::string message() const override { return message_; }
  std::exception_ptr take_thrown() override { return std::exchange(thrown_, nullptr); }

 private:
  // What is known of a step beside what the loop needs.
  struct Open {
    KernelPtr kernel;            // in use
    struct Kept {
      std::vector<int64_t> bound;
      KernelPtr kernel;
      uint64_t used;
    };
    std::vector<Kept> kept;
    std::vector<int64_t> found;  // sizes that the step finds out, axis by axis of its outputs
    bool pools = false;          // it writes a value whose memory is taken meanwhile
    bool open = false;           // some of its values have open sizes
    // What its kernel is made for shows in the sizes of its values; else `bound` says what the one in use was made for.
    bool told = true;
    std::vector<int64_t> bound;
    bool skip = false;           // all its outputs are empty: there is nothing to do
    bool early = true;           // nothing that a step finds out changes it
    bool checks = false;         // sizes must fulfil something when it begins
  };
  struct Pool {
    std::unique_ptr<DeviceMemory> memory;
    uint64_t bytes = 0;
    std::vector<size_t> in, out;  // entries of in_ and out_ that point there
  };
  struct Round {
    int64_t at = 0, count = 0;
  };

  // A stage: `phase` of a step, or a meeting before or behind it. The plan has at most kMostSteps and kMostPhases.
  static constexpr uint32_t kBefore = (1u << 20) - 1, kBehind = kBefore - 1, kCopies = kBefore - 2;
  static_assert(kMostPhases == kCopies && kMostSteps == size_t{kBefore} + 1);
  static constexpr uint64_t kNoStage = UINT64_MAX;
  static constexpr size_t kRing = 256;
  static constexpr uint32_t kLastStage = (1u << 24) - 1;

  void bind_step(const PlanStep& from, size_t index) override;
  void* place_of(int value, size_t entry, std::vector<Patch>& patches) const override;
  bool walk(const int64_t* sizes) noexcept override;
  Gather run(uint32_t stage, Team& team) noexcept override;
  uint32_t next(uint32_t stage) noexcept override;
  Memory ahead(uint32_t stage, uint32_t index) const noexcept override;
  int run_phase(const Step& step, int s, Team& team) noexcept override;

  void bind_values();
  void bind_growths();
  void bind_rooms(const int64_t* rooms) noexcept override;
  bool takes_room(int step) const noexcept;
  bool go() noexcept;
  void set_sizes() noexcept;
  bool has_room(int value) const noexcept;
  void check_room(int step) const;
  bool is_inside() const noexcept;
  void prepare_early(bool inside);
  bool settled(int step) const noexcept;
  // The stage that begins a step, kNoStage where the run is over; steps that only decide where to go on are done at once.
  // `alone`: nobody else looks.
  uint64_t enter(int step, bool alone) noexcept;
  bool must_meet(int step) const noexcept;
  const char* misfit(int step) const noexcept;
  const char* misfit_part(const PlanStep& from) const noexcept;
  void check(int step) const;
  void count_rounds(const PlanStep& from);
  void prepare_move(int step);
  void find_part(const PlanStep& from);
  void point(int value) noexcept;
  void prepare(int step);
  KernelPtr made_for(const KernelMaker& maker, const std::vector<int64_t>& sizes);
  bool serves(int step, const PreparedKernel& kernel, bool opens) const noexcept;
  void use(int step, KernelPtr kernel);
  void* scratch(int step, uint64_t bytes);
  void settle(int step) noexcept;
  bool decide(int& step) noexcept;
  bool round_begins(const PlanStep& step) noexcept;
  bool round_ends(const PlanStep& step) noexcept;
  void move(int step, Team& team) noexcept;
  void* reserve(int value, uint64_t bytes, bool keep);
  uint64_t bytes_of(int value) const noexcept;
  int64_t* sizes_of(int value) noexcept { return sizes_.data() + first_size_[static_cast<size_t>(value)]; }
  const int64_t* sizes_of(int value) const noexcept { return sizes_.data() + first_size_[static_cast<size_t>(value)]; }
  void stop(int step, int code, const char* why) noexcept;
  bool stop_by_exception(int step) noexcept;
  static void* take(const pw_context* context, uint32_t output, uint64_t bytes);
  uint64_t stage_at(uint64_t step, uint64_t phase) const noexcept { return step << 20 | phase; }

  static bool finds_size(const PlanStep& step, size_t out);
  bool roomy(int step) const noexcept;
  bool is_empty(int step) const noexcept;
  std::vector<int64_t> values_of(const std::vector<int>& sizes, const std::vector<int64_t>& results) const;

  std::vector<int64_t> results_;   // of the plan's sizes
  std::vector<int64_t> most_;      // the same at the largest sizes that memory is planned for; empty: that is not known
  std::vector<int> planned_;       // values of open sizes that have a place, as far as their sizes are given
  const std::vector<bool> late_sizes_;  // per size: a step finds it out
  std::vector<bool> late_values_;       // per value: one of its sizes is
  std::vector<int64_t> sizes_;     // of all values, axis by axis
  std::vector<size_t> first_size_;  // per value; past the end for those of fixed size
  std::vector<Open> open_;
  // Per entry of in_ and of out_: for how many positions there is room, 0: the value lies densely.
  std::vector<int64_t> in_room_, out_room_;
  struct Roomy {
    size_t growth, entry;
    bool output;
  };
  std::vector<Roomy> roomy_;        // entries of values that may have room
  std::vector<bool> touches_room_;  // per step: it has one of them
  bool any_room_ = false;           // in this run
  std::vector<Pool> pools_;  // per value
  std::vector<Round> rounds_;
  std::vector<int64_t> counts_;  // per step
  std::vector<std::pair<size_t, int>> sized_;  // entry of sizes_, size of the plan
  struct Extra {
    char* data = nullptr;
    uint64_t bytes = 0;
  };
  std::vector<Extra> extra_;  // per device: workspace of kernels that need more than is planned; one runs at a time
  std::vector<DeviceMemory> extra_memory_;
  std::atomic<bool> interrupted_{false};
  std::vector<int64_t> last_;  // what the caller gave in the last run
  bool prepared_ = false;      // all is as those sizes want it
  std::vector<int> known_;     // the sizes of values that are known before the run, each once
  std::vector<int> early_, unsettled_;  // steps that are prepared before it; those among them that are not settled
  bool looked_ = false;        // that is known
  int preparing_ = 0;          // the step that is prepared before the first begins
  uint64_t used_ = 0;
  // Kernels that were made, by group of their maker and the sizes: steps that compute the same have one.
  std::map<std::pair<int, std::vector<int64_t>>, std::weak_ptr<const PreparedKernel>> made_;
  std::string message_;
  std::exception_ptr thrown_;

  std::array<std::atomic<uint64_t>, kRing> ring_{};  // number << 40 | step << 20 | phase
  uint64_t at_ = 0;  // step << 20 | phase of the stage at work, by the thread that ends it
  uint64_t resume_ = kNoStage;  // the stage with which the next region goes on
  int wanted_threads_ = 1;      // of the next region
  int taking_ = 0;   // the step whose kernel runs, for `take`
};

}  // namespace pw
