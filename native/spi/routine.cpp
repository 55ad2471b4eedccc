#include "spi/routine.h"

#include "spi/failures.h"

namespace pw {

std::string Ports::text() const {
  auto list = [](const std::vector<Format>& formats) {
    std::string line;
    for (const auto& f : formats) line += (line.empty() ? "" : ",") + pw::text(f);
    return line;
  };
  std::string line = "in=" + list(in) + " out=" + list(out);
  for (const auto& s : share)
    line += " share=" + std::to_string(s.in) + ">" + std::to_string(s.out) + "@" + std::to_string(s.offset);
  for (const auto& r : reuse) line += " reuse=" + std::to_string(r.in) + ">" + std::to_string(r.out);
  if (order) line += " order=" + std::to_string(order);
  return line;
}

Ports uniform_ports(const Problem& problem, Layout layout, DType dtype) {
  Ports ports;
  auto format = [&](const Tensor& t) {
    const size_t rank = t.shape.size();
    return Format{dtype, of_rank(layout, rank) ? layout : plain_layout(rank), "cpu"};
  };
  for (int i : problem.dynamic()) ports.in.push_back(format(problem.in[i]));
  for (const auto& t : problem.out) ports.out.push_back(format(t));
  return ports;
}

std::string failure_text(int code) {
  if (code == kNoRoom) return "failed: there is no memory for what it found";
  if (code == kMisfit) return "was given contents that say no size, or a larger one than its output may have";
  if (code == kOutside) return "was given an index that lies outside of the axis that it counts along";
  return "failed with code " + std::to_string(code);
}

// Raised whenever an activation computes or costs otherwise: a part of the version of every routine that may take one.
constexpr int kActivations = 1;

Routine::Routine(Card card) : card_(std::move(card)) {
  if (card_.takes_epilogue) card_.version += kActivations;
  if (card_.layer.empty()) card_.layer = card_.id.substr(0, card_.id.find('/'));
}

}  // namespace pw
