// Prints what the table of an activation micro-kernel states, a line each: KIND PARAMETER... f32_only; with arguments KIND A B X,
// what it computes. PW_SOURCE is the micro-kernel's source.
#define PW_UKERNELS tested
#include PW_SOURCE

#include <cstdio>
#include <cstdlib>
#include <cstring>

int main(int argc, char** argv) {
  for (const pw::ActivationEntry* entry = pw::tested[0].activations; entry->kinds; ++entry)
    for (const pw::ActivationKind* kind = entry->kinds; kind->kind; ++kind) {
      if (argc == 1) {
        std::printf("%s", kind->kind);
        for (const char* name : kind->parameters)
          if (name) std::printf(" %s", name);
        std::printf(kind->f32_only ? " f32_only\n" : "\n");
      } else if (argc == 5 && !std::strcmp(argv[1], kind->kind)) {
        const auto number = [&](int i) { return std::strtof(argv[i], nullptr); };
        const pw::ActArgs args{entry->act, number(2), number(3)};
        const float x[3] = {number(4), 0.0f, -number(4)};
        float y[3];
        static_cast<const pw::ActivationF32*>(pw::tested[0].body)->run(&args, x, y, 3);
        std::printf("%.9g %.9g %.9g\n", y[0], y[1], y[2]);
      }
    }
}
