// The least that trains: one layer. tests/house/install_test.cmake weighs what a static library adds
// to such a program.
#include <lockstep/lockstep.h>

#include <cstdio>
#include <vector>
using namespace lockstep;

int main() {
  Context ctx({.threads = 1});
  auto net = Network::Bind(ctx, Linear(1), MseLoss(), {.input = {8, 2}});
  Sgd optimizer({.lr = 0.1});
  std::vector<float> x(8 * 2, 1.0f), y(8, 2.0f);
  double last = 1.0;
  for (int step = 0; net.ok() && step < 50; ++step) {
    auto loss = net->TrainStep({x.data(), {8, 2}}, {y.data(), {8, 1}}, optimizer);
    if (loss.ok()) last = *loss;
  }
  std::printf("%g\n", last);
  return last < 1e-6 ? 0 : 1;
}
