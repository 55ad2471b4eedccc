// Where values lie: in a device's arena, in a caller's input or in a caller's output.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "spi/routine.h"

namespace pw {

// The values and steps of a plan, as far as memory is concerned. Values are numbered; a step may share and reuse as in
// plugin.h, its indices counting the step's own inputs and outputs.
//
// Each value is an output of one step, which writes it first. Steps of a program write some values again, which they name among
// their inputs: a copy or an append its in[1], an `again` the number of the round (plan.h). Placement does not know that. It
// takes bytes that are shared for equal as long as both values live. So whoever makes the plan sees to it that no value which
// is read later shares memory, by a hint, with one that is written again meanwhile; within a round, before that is written
// again, it may (src/pathweave/runtime/programs.py copies what is carried on by a view or under another name).
struct PlaceStep {
  std::vector<int> in, out;
  std::vector<Share> share;
  std::vector<Reuse> reuse;
};
struct PlaceGraph {
  std::vector<uint64_t> bytes;  // per value
  std::vector<int> device;      // per value: an arena each
  std::vector<PlaceStep> steps;
  std::vector<int> inputs;   // values that the caller hands over, never written
  std::vector<int> outputs;  // values that the caller wants; a value may be named more than once
};

// Throws Error unless every value is the output of one step, or of the caller, and that comes before what reads it.
void check(const PlaceGraph& graph);

enum class Where { arena, input, output };
const char* where_name(Where where);

struct Spot {
  Where where;
  int root;         // arena: number of the root, values of one root share memory; else index of the input or output
  uint64_t offset;  // in bytes: into the device's arena, or into the caller's input or output
};

struct Placement {
  std::vector<Spot> values;
  std::vector<uint64_t> arena;  // bytes per device
  uint64_t peak = 0;            // sum of `arena`
  uint64_t unshared = 0;        // what it would be if every value but inputs and in-place outputs had its own memory
};

// Lays out a checked graph. Offsets into the arena of values that lie at the start of their root are multiples of 64.
//
// Shares are granted first, then reuses, in step order; each joins two roots at a fixed displacement. A root is legal
// when any two of its values that overlap either hold the same bytes there, or live one after the other, or meet in a
// step that may overwrite the one by the other; and when every input of a step that overlaps one of its outputs does
// so by a hint for just that pair (or is the same value as one that does so by a share). Inputs of the caller are never
// written, and no output lies in one; a step that can write straight into a caller's output is not joined to a larger
// root, whence the output would have to be copied, unless the join saves a copy. A value lives from the step that writes it
// first to the last step that names it among its inputs, in the order of the list; outputs live to the end.
Placement place(const PlaceGraph& graph);

}  // namespace pw
