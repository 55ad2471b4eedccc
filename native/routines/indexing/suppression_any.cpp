// non_max_suppression: the classes of all batches are shared out; then one thread writes what they have kept.
#include <algorithm>
#include <cstring>

#include "values/found.h"
#include "values/strided.h"

namespace pw {
namespace {

struct Candidate {
  float score;
  int32_t box;
};
// The better one comes last, as a heap has it on top.
bool worse(const Candidate& a, const Candidate& b) { return a.score < b.score || (a.score == b.score && a.box > b.box); }

// Corners and areas of boxes that were kept, one array each.
struct Kept {
  float *low0, *low1, *high0, *high1, *area;
  Kept(float* room, int64_t most) : low0(room), low1(room + most), high0(room + 2 * most), high1(room + 3 * most),
                                    area(room + 4 * most) {}
};

class SuppressionKernel : public AnyKernel {
 public:
  SuppressionKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), centred_(p.integer("center_point_box") != 0), threads_(p.threads),
        boxes_(p.in[0].shape[1]), lines_(p.in[1].shape[0] * p.in[1].shape[1]),
        most_(p.has(2) ? kMostNumber : p.integer("max_boxes")),
        iou_(p.has(3) ? 0 : static_cast<float>(p.number("iou"))), limited_(p.has(4) || !p.numbers("score").empty()),
        least_(p.has(4) || !limited_ ? 0 : static_cast<float>(p.number("score"))) {
    for (size_t i = 2; i < 5; ++i) given_[i - 2] = p.has(i);
    each_ = std::clamp<int64_t>(most_, 0, boxes_);
  }
  int64_t phases() const override { return 2; }
  // How many were kept of each class, and which; candidates, and corners of what is kept, for each thread.
  size_t workspace_bytes() const override {
    return static_cast<size_t>(lines_ * 8 + (lines_ * each_ * 4 + 63) / 64 * 64 + threads_ * room_bytes());
  }
  int run(const Context& c) noexcept override {
    const Operand boxes = operands_.in(0, c), scores = operands_.in(1, c);
    const int64_t classes = scores.size[1], n = boxes.size[1], lines = scores.size[0] * classes;
    auto* counts = static_cast<int64_t*>(c.workspace);
    auto* kept = reinterpret_cast<int32_t*>(counts + lines_);
    if (c.team.phase == 0) {
      c.team.each(lines, 1, [&](int64_t first, int64_t last) {
        char* room = static_cast<char*>(c.workspace) + lines_ * 8 + (lines_ * each_ * 4 + 63) / 64 * 64 +
                     c.team.index * room_bytes();
        const int64_t most = std::clamp<int64_t>(given_[0] ? *operands_.in(2, c).as<int64_t>() : most_, 0, n);
        const float iou = given_[1] ? *operands_.in(3, c).as<float>() : iou_;
        const float least = given_[2] ? *operands_.in(4, c).as<float>() : least_;
        for (int64_t i = first; i < last; ++i)
          counts[i] = suppress(boxes.as<float>() + i / classes * n * 4, scores.as<float>() + i * n, n, most, iou, least, room,
                               kept + i * each_);
      });
      return 0;
    }
    int code = 0;
    c.team.each(1, 1, [&](int64_t, int64_t) {
      int64_t sizes[2] = {0, 3};
      for (int64_t i = 0; i < lines; ++i) sizes[0] += counts[i];
      auto* y = static_cast<int64_t*>(found_output(c, 0, sizes, 2, sizeof(int64_t), code));
      if (!y) return;
      for (int64_t i = 0; i < lines; ++i)
        for (int64_t k = 0; k < counts[i]; ++k, y += 3) y[0] = i / classes, y[1] = i % classes, y[2] = kept[i * each_ + k];
    });
    return code;
  }

 private:
  int64_t room_bytes() const { return (boxes_ * 8 + 5 * each_ * 4 + 63) / 64 * 64; }

  // Boxes of one class that are kept, in their order; gives how many.
  int64_t suppress(const float* boxes, const float* scores, int64_t n, int64_t most, float iou, float least, char* room,
                   int32_t* to) const noexcept {
    auto* candidates = reinterpret_cast<Candidate*>(room);
    const Kept kept(reinterpret_cast<float*>(candidates + boxes_), each_);
    int64_t count = 0, found = 0;
    if (most == 0) return 0;
    for (int64_t i = 0; i < n; ++i) {
      candidates[count] = {scores[i], static_cast<int32_t>(i)};
      count += limited_ ? scores[i] > least : scores[i] == scores[i];
    }
    // All in order where most of them will be looked at, else the best one each time.
    const bool in_order = count <= 4 * most;
    if (in_order) std::sort(candidates, candidates + count, worse);
    else std::make_heap(candidates, candidates + count, worse);
    for (int64_t left = count; left > 0 && found < most; --left) {
      if (!in_order) std::pop_heap(candidates, candidates + left, worse);
      const int32_t box = candidates[left - 1].box;
      float corner[5];
      corners(boxes + int64_t{box} * 4, corner);
      if (overlaps(kept, found, corner, iou)) continue;
      kept.low0[found] = corner[0], kept.low1[found] = corner[1], kept.high0[found] = corner[2], kept.high1[found] = corner[3];
      kept.area[found] = corner[4];
      to[found++] = box;
    }
    return found;
  }
  void corners(const float* box, float* to) const noexcept {
    for (int k = 0; k < 2; ++k) {
      if (centred_) {
        const float half = box[2 + k] / 2;
        to[k] = box[k] - half, to[2 + k] = box[k] + half;
      } else {
        to[k] = std::min(box[k], box[2 + k]), to[2 + k] = std::max(box[k], box[2 + k]);
      }
    }
    to[4] = (to[2] - to[0]) * (to[3] - to[1]);
  }
  static bool overlaps(const Kept& kept, int64_t n, const float* box, float iou) noexcept {
    constexpr int64_t kBlock = 64;
    for (int64_t i = 0; i < n; i += kBlock) {
      int any = 0;
      for (int64_t j = i, end = std::min(n, i + kBlock); j < end; ++j) {
        const float a = (kept.high0[j] < box[2] ? kept.high0[j] : box[2]) - (kept.low0[j] > box[0] ? kept.low0[j] : box[0]);
        const float b = (kept.high1[j] < box[3] ? kept.high1[j] : box[3]) - (kept.low1[j] > box[1] ? kept.low1[j] : box[1]);
        const float shared = (a > 0 ? a : 0) * (b > 0 ? b : 0), both = kept.area[j] + box[4] - shared;
        any |= static_cast<int>(shared > 0) & static_cast<int>(both > 0) & static_cast<int>(shared / both > iou);
      }
      if (any) return true;
    }
    return false;
  }

  bool centred_, given_[3] = {};
  int64_t threads_, boxes_, lines_, most_;
  float iou_;
  bool limited_;
  float least_;
  int64_t each_;
};

class Suppression : public AnyRoutine {
 public:
  Suppression() : AnyRoutine("non_max_suppression", "classes") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() < 2 || p.in.size() > 5) return Verdict::no("it takes boxes, scores and three numbers");
    for (size_t i = 0; i < p.in.size(); ++i) {
      if (!p.in[i].present) continue;
      if (p.in[i].dtype != (i == 2 ? DType::i64 : DType::f32))
        return Verdict::no("an input is not f32, or a number of boxes not i64");
      if (i > 1 && p.in[i].count() != 1) return Verdict::no("a limit is not one number");
    }
    if (p.in[0].shape[1] > INT32_MAX) return Verdict::no("there are too many boxes");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<SuppressionKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Suppression>(); }
}  // namespace PW_COLLECT

}  // namespace pw
