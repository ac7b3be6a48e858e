// A network of ConvBlocks (convolution 3x3 without bias, batch norm, ReLU) learns the built-in
// digits. And a remark on the bias: one in front of a batch norm is taken away again by it, which
// the report of the layers says.
#include <lockstep/lockstep.h>

#include <cstdio>
#include <string>
using namespace lockstep;

Sequential Net(const ConvBlockOptions& block) {
  return Sequential(ConvBlock(8, block), MaxPool2d(2), ConvBlock(16, block), MaxPool2d(2),
                    ConvBlock(32, block), AdaptiveAvgPool2d(1), Flatten(), Linear(10));
}

// The share of test digits that the network knows after eight epochs.
Result<double> Train() {
  Context ctx;
  LOCKSTEP_TRY_ASSIGN(const DigitsData digits, MakeDigits({.train = 3000, .test = 500}));
  LOCKSTEP_TRY_ASSIGN(Network net, Network::Bind(ctx, Net({}), CrossEntropyLoss(),
                                                 {.input = {64, 28, 28, 1}, .seed = 1}));
  LOCKSTEP_TRY_ASSIGN(const auto loader,
                      Loader::Make(digits.train, AllIndices(3000), {.batch = 64, .seed = 1}));
  AdamW optimizer({.lr = 5e-3});
  LOCKSTEP_TRY_ASSIGN(const auto trainer,
                      Trainer::Make(net, optimizer, *loader, {.epochs = 8, .seed = 1}));
  LOCKSTEP_TRY(trainer->Run().status());
  LOCKSTEP_TRY_ASSIGN(const EvaluationResult result,
                      Evaluate(net, Subset{digits.test, AllIndices(500)}));
  return *ValueOf(result, Metric::kAccuracy);
}

// What the report of the first convolution says of its bias.
Result<std::string> RemarkOnBias(bool bias) {
  Context ctx;
  LOCKSTEP_TRY_ASSIGN(const Network net, Network::Bind(ctx, Net({.bias = bias}), CrossEntropyLoss(),
                                                       {.input = {4, 28, 28, 1}}));
  for (const LayerReport& row : net.program().graph().report()) {
    if (row.bias_has_no_effect) return row.path + " " + row.kind + ": " + row.notes.front();
  }
  return std::string();
}

Status Run() {
  LOCKSTEP_TRY_ASSIGN(const double accuracy, Train());
  std::printf("after 8 epochs: %.1f %% of 500 test digits\n", 100.0 * accuracy);
  if (!(accuracy > 0.9)) return Status::Invalid("the network has not learned");
  LOCKSTEP_TRY_ASSIGN(const std::string with, RemarkOnBias(true));
  LOCKSTEP_TRY_ASSIGN(const std::string without, RemarkOnBias(false));
  std::printf("with a bias:    %s\nwithout:        %s\n", with.c_str(),
              without.empty() ? "nothing to remark" : without.c_str());
  return with.empty() || !without.empty() ? Status::Invalid("the remark is wrong") : Status::Ok();
}

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
