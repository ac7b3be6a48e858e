// Convolutional networks against PyTorch: a state dict by torchvision's names loads strictly and
// gives the same outputs, loss and gradients. tests/golden/make_cnn.py says how cnn.json was made.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/train/network.h"
#include "engine/train/weight_files.h"
#include "layers/loss/cross_entropy.h"
#include "models/conv_net.h"
#include "models/mobilenet.h"
#include "models/resnet.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using Json = nlohmann::json;

const Json& Golden() {
  static const Json golden = [] {
    std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/cnn.json");
    return Json::parse(in);
  }();
  return golden;
}

// As values() in make_cnn.py.
std::vector<float> Values(int64_t count, uint32_t stream) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t x = static_cast<uint32_t>(i) + stream * 0x9E3779B9u;
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    x ^= x >> 16;
    values[i] = static_cast<float>(x >> 8) * 0x1p-24f - 0.5f;
  }
  return values;
}

// As fill() in make_cnn.py: a file of the names and shapes that PyTorch has, in its order.
void WriteStateDict(const Json& tensors, const std::string& path) {
  std::vector<std::vector<float>> memory;
  std::vector<StoredTensor> stored;
  const int64_t none = 0;
  uint32_t place = 0;
  for (const Json& entry : tensors) {
    ++place;
    const std::string name = entry[0];
    const std::vector<int64_t> dims = entry[1];
    const Shape shape{std::span<const int64_t>(dims)};
    if (name.ends_with("num_batches_tracked")) {
      stored.emplace_back(NamedConstTensor(name, ConstTensor(&none, shape)));
      continue;
    }
    std::vector<float>& values = memory.emplace_back(Values(shape.size(), place));
    if (shape.rank() > 1) {
      const double spread = std::sqrt(24.0 / static_cast<double>(shape.sample_size()));
      const auto scale = static_cast<float>(std::exp2(std::nearbyint(std::log2(spread))));
      for (float& v : values) v *= scale;
    } else if (name.ends_with("running_var") || name.ends_with("weight")) {
      for (float& v : values) v = static_cast<float>(1.0 + 0.5 * static_cast<double>(v));
    } else {
      for (float& v : values) v *= 0.25f;
    }
    stored.emplace_back(NamedConstTensor(name, ConstTensor(values.data(), shape)));
  }
  const Status status = WriteSafetensors(path, stored, {});
  ASSERT_TRUE(status.ok()) << status.message();
}

struct Net {
  const char* name;
  std::unique_ptr<Layer> (*make)();
};

std::unique_ptr<Layer> Residual(ResNetOptions options) { return std::make_unique<ResNet>(options); }
constexpr auto kCifar = ResNetOptions::Stem::kCifar;

const Net kNets[] = {
    {"resnet18", [] { return Residual({.depth = 18, .classes = 7, .width = 16}); }},
    {"resnet34", [] { return Residual({.depth = 34, .classes = 7, .width = 8}); }},
    {"resnet50", [] { return Residual({.depth = 50, .classes = 7, .width = 8}); }},
    {"resnet18_group",
     [] {
       return Residual(
           {.depth = 18, .classes = 7, .width = 16, .norm = {.kind = ConvNorm::Kind::kGroup}});
     }},
    {"resnet18_none",
     [] {
       return Residual(
           {.depth = 18, .classes = 7, .width = 8, .norm = {.kind = ConvNorm::Kind::kNone}});
     }},
    {"cifar20", [] { return Residual({.stem = kCifar, .depth = 20, .classes = 10, .width = 16}); }},
    {"plain20",
     [] {
       return Residual({.stem = kCifar, .depth = 20, .classes = 10, .width = 8, .skip = false});
     }},
    {"mobilenet_v2",
     []() -> std::unique_ptr<Layer> {
       return std::make_unique<MobileNetV2>(
           MobileNetV2Options{.classes = 7, .width = 0.35, .dropout = 0.0});
     }},
    {"conv_net",
     []() -> std::unique_ptr<Layer> {
       return std::make_unique<Sequential>(
           ConvNet({.channels = {6, 10}, .hidden = 9, .classes = 5}));
     }},
    {"conv_net_flatten",
     []() -> std::unique_ptr<Layer> {
       return std::make_unique<Sequential>(
           ConvNet({.channels = {6, 10}, .average = false, .hidden = 9, .classes = 5}));
     }},
};

class CnnParityTest : public ::testing::TestWithParam<size_t> {};

// What PyTorch computed in double, this computes in float: as far off as PyTorch is in float, whose
// orders of summation are others. Errors through dozens of layers are as good as random, and of a
// ReLU at its kink it is chance to which side it falls: four times that, and no closer than a few
// roundings of one result. An order of dimensions that is wrong is off by the whole of it.
double Tolerance(const Json& float_error) {
  return 4.0 * std::max(float_error.get<double>(), 1e-6);
}

TEST_P(CnnParityTest, AStateDictOfPyTorchGivesItsOutputsAndGradients) {
  const Net& one = kNets[GetParam()];
  const Json& want = Golden().at(one.name);
  const std::vector<int64_t> dims = want["input"];
  const Shape shape{std::span<const int64_t>(dims)};
  Context ctx({.threads = 2});
  Result<Network> net = Network::Bind(ctx, one.make(), std::make_unique<CrossEntropyLoss>(),
                                      {.input = shape, .seed = 3});
  ASSERT_TRUE(net.ok()) << net.status().message();
  const TemporaryFolder folder;
  WriteStateDict(want["tensors"], folder / "theirs");
  const auto read = ImportWeights(folder / "theirs", *net);
  ASSERT_TRUE(read.ok()) << read.status().message();

  std::vector<float> x = Values(shape.size(), 0);
  for (float& v : x) v *= 4.0f;
  const int64_t batch = shape.batch(), classes = net->output_shape().channels();
  std::vector<float> logits(static_cast<size_t>(batch * classes), NAN);
  ASSERT_TRUE(net->Predict({x.data(), shape}, {logits.data(), {batch, classes}}).ok());
  double largest = 0.0, worst = 0.0;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t c = 0; c < classes; ++c) {
      const double right = want["logits"][static_cast<size_t>(b)][static_cast<size_t>(c)];
      const double error =
          std::abs(static_cast<double>(logits[static_cast<size_t>(b * classes + c)]) - right);
      largest = std::max(largest, std::abs(right));
      worst = error <= worst ? worst : error;  // NaN stays
    }
  }
  EXPECT_TRUE(worst <= Tolerance(want["float_error"][0]) * largest) << worst / largest;

  std::vector<int32_t> target;
  for (int64_t b = 0; b < batch; ++b) target.push_back(static_cast<int32_t>(b * 2 % classes));
  const Result<StepResult> step = net->Gradients({x.data(), shape}, {target.data(), {batch}});
  ASSERT_TRUE(step.ok()) << step.status().message();
  const double loss = want["loss"], backward = Tolerance(want["float_error"][1]);
  EXPECT_TRUE(std::abs(step->mean() - loss) <= backward * loss) << step->mean() << " " << loss;
  const ConstParameterSet parameters = net->parameters();
  int seen = 0;
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    const ParameterInfo& info = parameters.infos[i];
    if (!want["gradients"].contains(info.name)) continue;
    ++seen;
    const std::span<const float> memory = parameters.gradient(i).span<float>();
    std::vector<float> gradient(memory.begin(), memory.end());
    if (!info.layout.plain()) ToFileOrder(info.layout, memory, gradient);
    const std::vector<float> onto = Values(info.shape.size(), 12345);
    double square = 0.0, projection = 0.0;
    for (size_t k = 0; k < gradient.size(); ++k) {
      square += static_cast<double>(gradient[k]) * static_cast<double>(gradient[k]);
      projection += static_cast<double>(gradient[k]) * static_cast<double>(onto[k]);
    }
    const double length = want["gradients"][info.name][0];
    const double onto_length = std::sqrt(static_cast<double>(gradient.size()) / 12.0);
    EXPECT_TRUE(std::abs(std::sqrt(square) - length) <= backward * length) << info.name;
    const double right = want["gradients"][info.name][1];
    EXPECT_TRUE(std::abs(projection - right) <= backward * length * onto_length)
        << info.name << " " << projection << " " << right;
  }
  EXPECT_EQ(seen, static_cast<int>(want["gradients"].size()));
}

// What is written has the names, shapes and order of dimensions that were read.
TEST_P(CnnParityTest, WhatIsExportedIsWhatWasRead) {
  const Net& one = kNets[GetParam()];
  const Json& want = Golden().at(one.name);
  const std::vector<int64_t> dims = want["input"];
  Context ctx({.threads = 1});
  Result<Network> net =
      Network::Bind(ctx, one.make(), nullptr,
                    {.input = Shape(std::span<const int64_t>(dims)), .training = false});
  ASSERT_TRUE(net.ok()) << net.status().message();
  const TemporaryFolder folder;
  WriteStateDict(want["tensors"], folder / "theirs");
  ASSERT_TRUE(ImportWeights(folder / "theirs", *net).ok());
  ASSERT_TRUE(ExportWeights(folder / "ours", *net).ok());
  const SafetensorsFile theirs = ReadSafetensors(folder / "theirs").value();
  const SafetensorsFile ours = ReadSafetensors(folder / "ours").value();
  EXPECT_EQ(ours.tensors.size(), theirs.tensors.size());
  for (const StoredTensor& tensor : theirs.tensors) {
    const StoredTensor* found = ours.Find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->Describe(), tensor.Describe()) << tensor.name;
    EXPECT_TRUE(
        std::equal(found->data.begin(), found->data.end(), tensor.data.begin(), tensor.data.end()))
        << tensor.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Nets, CnnParityTest, ::testing::Range<size_t>(0, std::size(kNets)),
                         [](const auto& info) { return std::string(kNets[info.param].name); });

// torchvision's own counts, and for CIFAR's that of He et al. with projections: 270 thousand.
TEST(CnnSizeTest, IsThatOfTheNetworksOfTheseNames) {
  const auto count = [](const Layer& layer, int64_t side) {
    ParameterStore store;
    Graph graph(store, {.training = false, .samples = 1});
    const Value x = graph.AddInput("x", {1, side, side, 3}).value();
    const Result<Value> y = Apply(graph, "", layer, x);
    EXPECT_TRUE(y.ok()) << y.status().message();
    int64_t elements = 0;
    for (const ParameterInfo& info : store.infos()) elements += info.shape.size();
    return elements;
  };
  EXPECT_EQ(count(ResNet18(), 224), 11689512);
  EXPECT_EQ(count(ResNet34(), 224), 21797672);
  EXPECT_EQ(count(ResNet50(), 224), 25557032);
  EXPECT_EQ(count(MobileNetV2({}), 224), 3504872);
  EXPECT_EQ(count(CifarResNet(20), 32), 272474);
  EXPECT_EQ(count(CifarResNet(20, 10, {.skip = false}), 32), 269722);
}

TEST(CnnShapeTest, WhatDoesNotFitSaysSo) {
  const auto error = [](const Layer& layer, const Shape& input) {
    ParameterStore store;
    Graph graph(store, {.training = false, .samples = input.batch()});
    const Value x = graph.AddInput("x", input).value();
    const Result<Value> y = Apply(graph, "", layer, x);
    return y.ok() ? "" : y.status().message();
  };
  EXPECT_NE(error(ResNet18(), {2, 20}).find("takes pictures"), std::string::npos);
  EXPECT_NE(error(MobileNetV2({}), {2, 3, 4}).find("takes pictures"), std::string::npos);
  EXPECT_NE(error(CifarResNet(21), {2, 8, 8, 3}).find("6n + 2"), std::string::npos);
  EXPECT_NE(error(ResNet({.depth = 19}), {2, 8, 8, 3}).find("not 19"), std::string::npos);
  EXPECT_NE(error(MobileNetV2({.width = NAN}), {2, 8, 8, 3}).find("width"), std::string::npos);
  EXPECT_NE(error(ConvNet({.channels = {4, 4, 4}}), {2, 7, 7, 1}), "");
  // One pixel is enough for nets whose strides pad.
  EXPECT_EQ(error(ResNet18(), {2, 1, 1, 3}), "");
  EXPECT_EQ(error(ResNet50(5, {.zero_init_residual = true}), {2, 1, 3, 3}), "");
}

}  // namespace
}  // namespace lockstep
