// Routine and Kernel: the contract of one way to compute a layer, and of that way bound to one problem.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "spi/problem.h"

namespace pw {

// `ok`, or the condition that failed, as a sentence. Not an exception.
struct Verdict {
  std::string reason;  // "" = accepted
  explicit operator bool() const { return reason.empty(); }
  static Verdict ok() { return {}; }
  static Verdict no(std::string reason) { return {std::move(reason)}; }
};

struct Share {
  int in, out;
  int64_t offset;  // of the input's first byte in the output; negative: the output lies inside the input
};
struct Reuse {
  int in, out;
};

// Formats of the dynamic inputs and of the outputs, in order; see plugin.h for share and reuse (indices count dynamic
// inputs only), and for `order`.
struct Ports {
  std::vector<Format> in, out;
  std::vector<Share> share;
  std::vector<Reuse> reuse;
  int order = 0;
  std::string text() const;
};

// All ports in dtype f32 on the CPU, values of the rank that `layout` is for in it and the others row-major.
Ports uniform_ports(const Problem& problem, Layout layout, DType dtype = DType::f32);

// Of a routine that is usually the fastest on the problem.
inline Ports preferred(Ports ports) {
  ports.order = -1;
  return ports;
}

struct Constant {
  const void* data = nullptr;  // nullptr for values and absent inputs
  uint64_t id = 0;             // equal non-zero ids: equal contents
  // Of a value with one scale in u8: how that is read, real = scale * (q - zero_point); 0: not known, or of another kind.
  float scale = 0;
  int32_t zero_point = 0;
  // Every scale that is known, those above included: position k along `axis` has scales[k] and zero_points[k], in integers
  // of type `dtype`. -1: there is one for the whole value. Empty where none is known. They live as long as `prepare`.
  DType dtype = DType::u8;
  int axis = -1;
  std::span<const float> scales{};
  std::span<const int32_t> zero_points{};
  template <class T>
  const T* as() const { return static_cast<const T*>(data); }
};
using Constants = std::vector<Constant>;  // one per problem input, then one per output

// What a run may fail with. An index that lies outside of its axis is not read with.
constexpr int kOutside = 101;
// No memory for values whose number was found in the run.
constexpr int kNoRoom = 102;

// What a code of a run means, as the end of the sentence "the step ...".
std::string failure_text(int code);

// One run of a kernel; see pw_context in plugin.h.
struct Context {
  const void* const* in;
  void* const* out;
  const int64_t* const* in_sizes;  // of each input, one per axis
  int64_t* const* out_sizes;
  void* workspace;
  Team& team;
  const pw_context* raw;
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  // Scratch memory that `run` is handed, 64-byte aligned, shared by the team.
  virtual size_t workspace_bytes() const { return 0; }
  // Memory that the kernel owns or shares (packed constants, offset tables).
  virtual size_t packed_bytes() const { return 0; }
  // 0: every thread of the team comes, once; Team::barrier and Team::share may be used. n > 0: a run is n calls, one
  // after another, Team::phase says which; all work of a call lies in bodies of Team::each. Such a call ends with its
  // last piece, whoever did it. A thread that comes late may do what stands around the loops when the workspace and the
  // values have other uses already, so that nothing there may touch them. (Scratch memory per Team::index is fine in a
  // body.)
  virtual int64_t phases() const { return 0; }
  // What thread `index` of `count` reads first in a phase, of memory that is the kernel's: packed weights, mostly. Who waits
  // for the step before fetches it. Where there are more threads than pieces, some have none of their own: see
  // Team::own_first.
  virtual Memory reads_first(int64_t phase, uint32_t index, uint32_t count) const {
    (void)phase, (void)index, (void)count;
    return {};
  }
  // True where `run` goes by the size of this axis in its context, from 0 to that of the problem. Ports: the dynamic inputs
  // in order, then the outputs. Kernels of which all axes are fixed leave it at that.
  virtual bool open(size_t port, size_t axis) const {
    (void)port, (void)axis;
    return false;
  }
  // Called by every thread of the team. No exceptions, no allocation. A kernel overrides one of the two: the first where
  // some axis is open or where contents may be wrong, else the second, which is handed the same without sizes. Gives 0, or
  // why the run failed, such as kOutside: the rest of the run is passed over then, and outputs may hold anything.
  virtual int run(const Context& context) noexcept {
    run(context.in, context.out, context.workspace, context.team);
    return 0;
  }
  virtual void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept {
    (void)in, (void)out, (void)workspace, (void)team;
  }
};

// A kernel whose work is one loop of pieces, or several that may run at the same time.
class PieceKernel : public Kernel {
 public:
  int64_t phases() const override { return 1; }
};

enum class Accuracy { strict = PW_STRICT, f32 = PW_F32, reduced = PW_REDUCED, quantised = PW_QUANTISED };

struct Card {
  std::string id{};  // KIND/ALGORITHM:DTYPE:LAYOUT:cpu, written by hand, never changes
  int version = 1;
  std::string layer{};  // layer kind, or "adapt"; "" = KIND of the id
  Accuracy accuracy = Accuracy::strict;
  bool reference = false;       // a candidate only where nothing else accepts, or when asked for
  bool takes_epilogue = false;  // may accept problems with an epilogue
  bool axis_scales = false;     // takes values with a scale per position of an axis
  std::string requires_{};      // capability words joined by '+'
};

// A routine states its card, what it accepts and how it is prepared; the rest has the defaults below.
class Routine {
 public:
  virtual ~Routine() = default;
  virtual const Card& card() const { return card_; }
  virtual Verdict accepts(const Problem& problem) const = 0;
  // Variants of an accepted problem, each a text such as a micro-kernel's name; {""} when there is nothing to vary.
  virtual std::vector<std::string> variants(const Problem&) const { return {""}; }
  // f32, images in nchw: the order of rows of every other rank.
  virtual Ports ports(const Problem& problem) const { return uniform_ports(problem, Layout::nchw); }
  virtual std::unique_ptr<Kernel> prepare(const Problem& problem, const std::string& variant,
                                          const Constants& constants) const = 0;

 protected:
  Routine() = default;
  explicit Routine(Card card);
  Card card_;
};

// Every file routines/<layer>/<algorithm>.cpp defines `void collect(Collector&)` in namespace PW_COLLECT, a macro that
// the build sets per file; cmake/collect.cmake generates the table that calls them all.
struct Collector {
  std::vector<std::unique_ptr<Routine>> routines;
  template <class R, class... Args>
  void add(Args&&... args) { routines.push_back(std::make_unique<R>(std::forward<Args>(args)...)); }
};

// All routines of the build, in a fixed order.
const std::vector<std::unique_ptr<Routine>>& collected_routines();

}  // namespace pw
