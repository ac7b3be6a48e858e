// Exported models: ONNX's own checker takes them, and other programs compute with them what the
// network does. The other side is tests/layers/check_onnx.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "engine/io/npy.h"
#include "engine/train/export.h"
#include "engine/train/network.h"
#include "layers/arithmetic.h"
#include "layers/conv/conv.h"
#include "layers/conv/conv_transpose.h"
#include "layers/norm/group_norm.h"
#include "layers/picture/adaptive_pool.h"
#include "layers/picture/pad.h"
#include "layers/picture/pool.h"
#include "layers/picture/upsample.h"
#include "layers/recurrent/gru.h"
#include "layers/recurrent/last_step.h"
#include "layers/recurrent/lstm.h"
#include "layers/sequence/embed_features.h"
#include "layers/sequence/embedding.h"
#include "models/gpt.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/layers/layer_runner.h"
#include "tests/layers/network_models.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;
using testing::LayerRunner;
using testing::Values;

struct Ran {
  int code = -1;
  std::string out;
};

Ran Check(const std::string& arguments) {
  // Debian's packages belong to the system's own Python, which need not be the first on the path.
  const char* python = std::getenv("LOCKSTEP_PYTHON");
  const std::string command = std::string(python == nullptr ? "/usr/bin/python3" : python) +
                              " -B " LOCKSTEP_SOURCE_DIR "/tests/layers/check_onnx.py " +
                              arguments + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  Ran ran;
  std::array<char, 4096> buffer;
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    ran.out.append(buffer.data(), n);
  ran.code = WEXITSTATUS(pclose(pipe));
  return ran;
}
constexpr int kNotInstalled = 77, kNoSuchProgram = 127;
#define SKIP_WITHOUT_ONNX(ran) \
  if (ran.code == kNotInstalled || ran.code == kNoSuchProgram) GTEST_SKIP() << ran.out

constexpr int64_t kBatch = 7;

// Trains a little, so that no parameter and no running statistic is what it began as, and leaves
// NAME.onnx with the input and the output to expect.
void ExportWithNumbers(const TemporaryFolder& folder, const std::string& name,
                       std::unique_ptr<Layer> layers, const Shape& sample,
                       ExportOptions options = {}) {
  SCOPED_TRACE(name);
  std::vector<int64_t> dims{kBatch};
  dims.insert(dims.end(), sample.dims().begin(), sample.dims().end());
  const Shape input{std::span<const int64_t>(dims)};
  Context ctx({.threads = 1});
  Result<Network> net = Network::Bind(ctx, std::move(layers), std::make_unique<MseLoss>(),
                                      {.input = input, .seed = 5});
  ASSERT_TRUE(net.ok()) << net.status().message();
  AdamW optimizer({.lr = 0.05});
  std::vector<float> x = networks::Normals(input.size(), 1);
  const std::vector<float> target = networks::Normals(net->output_shape().size(), 2);
  for (int step = 0; step < 20; ++step) {
    const auto loss =
        net->TrainStep({x.data(), input}, {target.data(), net->output_shape()}, optimizer);
    ASSERT_TRUE(loss.ok()) << loss.status().message();
  }
  if (options.standardizer != nullptr) {
    std::vector<float> raw = x;
    if (options.missing) raw[1] = NAN;
    ASSERT_TRUE(WriteNpy(folder / (name + ".x.npy"), {raw.data(), input}).ok());
    x = raw;
    options.standardizer->Apply({x.data(), input});
  } else {
    ASSERT_TRUE(WriteNpy(folder / (name + ".x.npy"), {x.data(), input}).ok());
  }
  std::vector<float> y(target.size());
  ASSERT_TRUE(net->Predict({x.data(), input}, {y.data(), net->output_shape()}).ok());
  ASSERT_TRUE(WriteNpy(folder / (name + ".y.npy"), {y.data(), net->output_shape()}).ok());
  const Status written = ExportOnnx(*net, folder / (name + ".onnx"), options);
  ASSERT_TRUE(written.ok()) << written.message();
}

template <class L>
void ExportLayer(const TemporaryFolder& folder, const std::string& name, L layer,
                 const Shape& sample) {
  ExportWithNumbers(folder, name, std::make_unique<Sequential>(Sequential(std::move(layer))),
                    sample);
}

void ExpectRight(const TemporaryFolder& folder) {
  const Ran ran = Check(folder.path());
  SKIP_WITHOUT_ONNX(ran);
  EXPECT_EQ(ran.code, 0) << ran.out;
  if (std::getenv("LOCKSTEP_SHOW") != nullptr) std::printf("%s", ran.out.c_str());
}

// Two inputs, one of them of tokens, and two outputs, of which one is made of the other.
class TwoOfEach final : public Model {
 public:
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value words,
                        graph.AddInput("words", {graph.batch(), 3}, DType::kI32));
    LOCKSTEP_TRY_ASSIGN(const Value row, graph.AddInput("row", {graph.batch(), 4}));
    LOCKSTEP_TRY_ASSIGN(const Value embedded, Apply(graph, "words", words_, words));
    LOCKSTEP_TRY_ASSIGN(const Value flat, Apply(graph, "flat", flat_, embedded));
    LOCKSTEP_TRY_ASSIGN(const Value both, graph.Add(Concatenate(), {flat, row}));
    LOCKSTEP_TRY_ASSIGN(const Value level, Apply(graph, "level", level_, both));
    LOCKSTEP_TRY_ASSIGN(const Value kind, Apply(graph, "kind", kind_, level));
    LOCKSTEP_TRY(graph.AddOutput("level", level));
    LOCKSTEP_TRY(graph.AddOutput("kind", kind));
    LOCKSTEP_TRY(AddLoss(graph, "true_level", MseLoss(), level));
    return AddLoss(graph, "true_kind", MseLoss(), kind);
  }

 private:
  Embedding words_ = Embedding(9, 2);
  Flatten flat_;
  Sequential level_ = Sequential(Linear(5), BatchNorm(), Relu());
  Linear kind_ = Linear(2);
};

TEST(OnnxTest, AModelOfSeveralInputsAndOutputsKeepsTheirNames) {
  const TemporaryFolder folder;
  Context ctx({.threads = 1});
  Network net =
      Network::Bind(ctx, TwoOfEach(), kBatch, {.seed = 5, .layer_outputs = {"level.0"}}).value();
  std::vector<int32_t> words;
  for (int32_t i = 0; i < kBatch * 3; ++i) words.push_back(i * 5 % 9);
  const std::vector<float> row = networks::Normals(kBatch * 4, 1);
  const std::vector<float> target = networks::Normals(kBatch * 5, 2);
  const std::array inputs{
      ConstTensor(words.data(), {kBatch, 3}), ConstTensor(row.data(), {kBatch, 4}),
      ConstTensor(target.data(), {kBatch, 5}), ConstTensor(target.data(), {kBatch, 2})};
  AdamW adam({.lr = 0.05});
  for (int step = 0; step < 10; ++step) ASSERT_TRUE(net.TrainStep(inputs, adam).ok());
  std::vector<float> level(kBatch * 5), kind(kBatch * 2);
  const std::array outputs{Tensor(level.data(), {kBatch, 5}), Tensor(kind.data(), {kBatch, 2})};
  ASSERT_TRUE(net.Predict(std::span(inputs).first(2), outputs).ok());
  for (const bool fold : {false, true}) {
    const std::string name = fold ? "folded" : "plain";
    const Status written = ExportOnnx(net, folder / (name + ".onnx"), {.fold_norms = fold});
    ASSERT_TRUE(written.ok()) << written.message();
    ASSERT_TRUE(WriteNpy(folder / (name + ".words.npy"), inputs[0]).ok());
    ASSERT_TRUE(WriteNpy(folder / (name + ".row.npy"), inputs[1]).ok());
    ASSERT_TRUE(WriteNpy(folder / (name + ".level.npy"), outputs[0]).ok());
    ASSERT_TRUE(WriteNpy(folder / (name + ".kind.npy"), outputs[1]).ok());
  }
  ExpectRight(folder);
  const Standardizer standardizer =
      Standardizer::FromVectors(std::vector<float>(4, 0.0f), std::vector<float>(4, 1.0f)).value();
  EXPECT_THAT(ExportOnnx(net, folder / "refused.onnx", {.standardizer = &standardizer}).message(),
              HasSubstr("several inputs"));
}

TEST(OnnxTest, TheOperatorsWeCompareWithAgreeWithOnnxsOwnVectors) {
  const Ran ran = Check("--vectors");
  SKIP_WITHOUT_ONNX(ran);
  EXPECT_EQ(ran.code, 0) << ran.out;
}

// Not a pass where some were left out: newer ONNX has forms that our opset does not know.
TEST(OnnxTest, NoneOfOnnxsVectorsForTheseOperatorsIsLeftOut) {
  const Ran ran = Check("--vectors");
  SKIP_WITHOUT_ONNX(ran);
  if (const size_t left_out = ran.out.find("not run: "); left_out != std::string::npos)
    GTEST_SKIP() << ran.out.substr(left_out);
}

TEST(OnnxTest, EveryLayerIsExportedAsWhatItComputes) {
  const TemporaryFolder folder;
  ExportLayer(folder, "linear", Linear(3), {6});
  ExportLayer(folder, "linear_without_bias", Linear(3, {.bias = false}), {6});
  ExportLayer(folder, "linear_on_rows", Linear(3), {4, 6});
  ExportLayer(folder, "batch_norm", BatchNorm(), {6});
  ExportLayer(folder, "batch_norm_on_images", BatchNorm({.eps = 1e-2}), {4, 5, 3});
  ExportLayer(folder, "batch_norm_keras", BatchNorm({.convention = Convention::kKeras}), {6});
  ExportLayer(folder, "batch_norm_alone", Sequential(BatchNorm({.affine = false}), Linear(2)), {6});
  ExportLayer(folder, "batch_norm_of_batch", BatchNorm({.track_running_stats = false}), {4, 6});
  ExportLayer(folder, "layer_norm", LayerNorm({.eps = 1e-2}), {6});
  ExportLayer(folder, "layer_norm_on_rows", LayerNorm(), {2, 4, 6});
  ExportLayer(folder, "layer_norm_alone", Sequential(LayerNorm({.affine = false}), Linear(2)), {6});
  ExportLayer(folder, "rms_norm", RmsNorm(), {6});
  ExportLayer(folder, "rms_norm_on_rows", RmsNorm({.eps = 1e-2}), {4, 6});
  ExportLayer(folder, "group_norm", GroupNorm(2), {6});
  ExportLayer(folder, "group_norm_on_images", GroupNorm(3, {.eps = 1e-2}), {4, 5, 6});
  ExportLayer(folder, "instance_norm", InstanceNorm({.affine = true}), {4, 5, 3});
  ExportLayer(folder, "instance_norm_alone", Sequential(InstanceNorm(), Linear(2)), {5, 3});
  // Normed inputs reach where an activation bends; OpenCV knows this norm.
  const auto bent = [&](const std::string& name, auto activation) {
    ExportLayer(folder, name, Sequential(Linear(16), BatchNorm(), std::move(activation)), {6});
  };
  bent("relu", Relu());
  bent("leaky_relu", LeakyRelu(0.2f));
  bent("gelu", Gelu());
  bent("gelu_tanh", Gelu(GeluApproximation::kTanh));
  bent("silu", Silu());
  bent("sigmoid", Sigmoid());
  bent("tanh", Tanh());
  bent("softplus", Softplus());
  bent("softplus_steep", Softplus(3.0f));
  bent("softplus_cut", Softplus(2.0f, 0.5f));
  // e^(3000 x) is no double.
  ExportLayer(folder, "softplus_of_large", Sequential(Linear(16), Softplus(3000.0f)), {6});
  ExportLayer(folder, "dropout", Sequential(Dropout(0.3), Linear(2), Dropout(0.3)), {6});
  ExportLayer(folder, "flatten", Sequential(Flatten(), Linear(2)), {2, 3, 4});
  ExportLayer(folder, "residual", Residual(Sequential(Linear(6), BatchNorm(), Relu(), Linear(6))),
              {6});
  ExportLayer(
      folder, "residual_with_shortcut",
      Sequential(Residual(Sequential(Linear(4), BatchNorm()), Linear(4)), Relu(), Linear(2)), {6});
  ExpectRight(folder);
}

TEST(OnnxTest, ConvolutionsAreExportedAsWhatTheyCompute) {
  const TemporaryFolder folder;
  const auto conv = [&](const std::string& name, int64_t out, Conv2dOptions options) {
    ExportLayer(folder, name, Conv2d(out, options), {5, 6, 4});
  };
  conv("conv", 5, {.padding = 1});
  conv("conv_without_bias", 5, {.bias = false});
  conv("conv_stride", 5, {.stride = 2});
  conv("conv_uneven", 5, {.kernel = {2, 3}, .stride = {1, 2}, .padding = {0, 1}});
  conv("conv_padded_beyond_what_is_read", 5, {.kernel = 2, .stride = 3, .padding = 1});
  conv("conv_dilation", 5, {.padding = 2, .dilation = 2});
  conv("conv_same_even", 5, {.kernel = 4, .same = true});
  conv("conv_same_stride", 5, {.stride = 2, .same = true});
  conv("conv_groups", 6, {.padding = 1, .groups = 2});
  conv("conv_depthwise", 8, {.padding = 1, .groups = 4});
  ExportLayer(folder, "conv1d", Conv1d(5, {.kernel = 4, .stride = 2, .padding = 2}), {9, 3});
  ExportLayer(folder, "conv1d_groups", Conv1d(6, {.groups = 3}), {9, 3});
  const auto transposed = [&](const std::string& name, int64_t out,
                              ConvTranspose2dOptions options) {
    ExportLayer(folder, name, ConvTranspose2d(out, options), {3, 4, 4});
  };
  transposed("transposed", 5, {});
  transposed("transposed_stride", 5, {.stride = 2, .padding = 1, .bias = false});
  transposed("transposed_output_padding", 5, {.stride = 2, .padding = 1, .output_padding = 1});
  transposed("transposed_uneven", 5, {.kernel = {2, 3}, .stride = {3, 1}, .dilation = {1, 2}});
  transposed("transposed_groups", 6, {.stride = 2, .groups = 2});
  ExpectRight(folder);
}

TEST(OnnxTest, PoolingResizingAndPaddingAreExportedAsWhatTheyCompute) {
  const TemporaryFolder folder;
  const auto add = [&](const std::string& name, auto layer, const Shape& sample = {5, 6, 2}) {
    ExportLayer(folder, name, Sequential(Linear(3), std::move(layer)), sample);
  };
  constexpr auto kLinear = UpsampleOptions::Mode::kLinear;
  using Factor = UpsampleOptions::Factor;
  add("max_pool", MaxPool2d(2));
  add("max_pool_ceil", MaxPool2d(3, {.stride = 2, .padding = 1, .ceil_mode = true}));
  add("max_pool_dilated", MaxPool2d({2, 3}, {.stride = 1, .padding = {0, 1}, .dilation = {2, 1}}));
  add("max_pool_1d", MaxPool1d(3, {.stride = 2, .padding = 1}), {7, 2});
  add("avg_pool", AvgPool2d(2));
  add("avg_pool_padded", AvgPool2d(3, {.stride = 2, .padding = 1}));
  add("avg_pool_ceil", AvgPool2d(3, {.stride = 2, .padding = 1, .ceil_mode = true}));
  add("avg_pool_inside",
      AvgPool2d(3, {.stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false}));
  add("avg_pool_divisor", AvgPool2d(2, {.stride = 1, .padding = 1, .divisor_override = 3}));
  add("avg_pool_1d", AvgPool1d(3, {.stride = 2, .ceil_mode = true}), {6, 2});
  add("global", AdaptiveAvgPool2d(1));
  add("adaptive_even", AdaptiveAvgPool2d({5, 2}));
  add("adaptive_uneven", AdaptiveAvgPool2d({3, 4}));
  add("adaptive_1d", AdaptiveAvgPool1d(3), {7, 2});
  add("nearest", Upsample({.scale_factor = 2.0}));
  add("nearest_factor", Upsample({.scale_factor = Factor(1.7, 0.6)}));
  add("nearest_size", Upsample({.size = Window(7, 4)}));
  add("linear", Upsample({.scale_factor = 2.0, .mode = kLinear}));
  add("linear_size", Upsample({.size = Window(7, 4), .mode = kLinear}));
  add("linear_factor", Upsample({.scale_factor = Factor(1.7, 0.6), .mode = kLinear}));
  add("linear_corners", Upsample({.size = Window(9, 1), .mode = kLinear, .align_corners = true}));
  add("linear_corners_factor",
      Upsample({.scale_factor = 1.7, .mode = kLinear, .align_corners = true}));
  add("linear_1d", Upsample({.scale_factor = 1.5, .mode = kLinear}), {6, 2});
  add("zero_pad", ZeroPad2d({1, 2, 0, 3}));
  add("zero_pad_cut", ZeroPad2d({-1, 2, 1, -2}));
  add("reflection_pad", ReflectionPad2d({1, 3, 2, 0}));
  add("reflection_pad_cut", ReflectionPad2d({-1, 2, 1, -2}));
  add("replication_pad", ReplicationPad2d({1, 5, 4, 0}));
  ExpectRight(folder);
}

// Tokens (kBatch, length) below `vocabulary`; `padded`: behind, in front, and a row of nothing
// else.
template <class L>
void ExportTokens(const TemporaryFolder& folder, const std::string& name, L layers, int64_t length,
                  int32_t vocabulary, bool padded) {
  SCOPED_TRACE(name);
  const Shape input{kBatch, length};
  Context ctx({.threads = 1});
  Result<Network> net = Network::Bind(ctx, std::move(layers),
                                      {.input = input, .input_dtype = DType::kI32, .seed = 5});
  ASSERT_TRUE(net.ok()) << net.status().message();
  std::vector<int32_t> x;
  for (int32_t i = 0; i < input.size(); ++i) {
    const int64_t row = i / length, t = i % length;
    const bool padding = row == 0 || (row == 1 && t < 2) || (row == 2 && t + 3 > length);
    x.push_back(padded && padding ? -1 : (i * i + 3 * i) % vocabulary);
  }
  ASSERT_TRUE(WriteNpy(folder / (name + ".x.npy"), {x.data(), input}).ok());
  std::vector<float> y(static_cast<size_t>(net->output_shape().size()));
  const Status predicted = net->Predict({x.data(), input}, {y.data(), net->output_shape()});
  ASSERT_TRUE(predicted.ok()) << predicted.message();
  ASSERT_TRUE(WriteNpy(folder / (name + ".y.npy"), {y.data(), net->output_shape()}).ok());
  const Status written = ExportOnnx(*net, folder / (name + ".onnx"));
  ASSERT_TRUE(written.ok()) << written.message();
}

TEST(OnnxTest, NetworksOfTokensAreExportedAsWhatTheyCompute) {
  const TemporaryFolder folder;
  ExportTokens(folder, "embedding", Embedding(7, 4, {.padded = false}), 5, 7, false);
  ExportTokens(folder, "embedding_padded", Embedding(7, 4), 5, 7, true);
  const GptOptions gpt{
      .vocabulary = 7, .context = 8, .layers = 2, .heads = 4, .key_heads = 2, .width = 16};
  ExportTokens(folder, "gpt", Gpt(gpt), 6, 7, false);
  GptOptions llama = gpt;
  llama.norm = TransformerBlockOptions::Norm::kRms;
  llama.activation = TransformerBlockOptions::Activation::kSwiGlu;
  llama.positions = GptOptions::Positions::kRotary;
  llama.bias = llama.tie_head = false;
  ExportTokens(folder, "gpt_rotary", Gpt(llama), 6, 7, false);
  for (GptOptions options : {gpt, llama}) {
    options.places = {.padded = true, .separator = 3};
    ExportTokens(folder, options.bias ? "gpt_packed" : "gpt_rotary_packed", Gpt(options), 6, 7,
                 true);
  }
  for (const bool class_token : {false, true}) {
    ExportTokens(
        folder, class_token ? "encoder_class_token" : "encoder_mean",
        TransformerEncoder({.encoder = {.block = {.width = 8, .heads = 2, .feed_forward = 12},
                                        .layers = 1,
                                        .outputs = 3,
                                        .pool = class_token ? EncoderOptions::Pool::kClassToken
                                                            : EncoderOptions::Pool::kMean},
                            .vocabulary = 7,
                            .padded = true}),
        6, 7, true);
  }
  ExpectRight(folder);
}

TEST(OnnxTest, EmbeddedFeaturesAreExportedAsWhatTheyCompute) {
  const TemporaryFolder folder;
  for (const int64_t dense : {int64_t{0}, int64_t{2}}) {
    const Shape input{kBatch, dense + 2};
    Context ctx({.threads = 1});
    Network net = Network::Bind(ctx, Sequential(EmbedFeatures({{5, 3}, {kBatch, 1}}), Linear(2)),
                                {.input = input, .seed = 5})
                      .value();
    std::vector<float> x = networks::Normals(input.size(), 1);
    for (int64_t r = 0; r < kBatch; ++r) {
      x[static_cast<size_t>((r + 1) * (dense + 2) - 2)] = static_cast<float>(r * r % 5);
      x[static_cast<size_t>((r + 1) * (dense + 2) - 1)] = static_cast<float>(r);
    }
    std::vector<float> y(kBatch * 2);
    const std::string name = dense > 0 ? "some_embedded" : "all_embedded";
    ASSERT_TRUE(net.Predict({x.data(), input}, {y.data(), net.output_shape()}).ok());
    ASSERT_TRUE(WriteNpy(folder / (name + ".x.npy"), {x.data(), input}).ok());
    ASSERT_TRUE(WriteNpy(folder / (name + ".y.npy"), {y.data(), net.output_shape()}).ok());
    const Status written = ExportOnnx(net, folder / (name + ".onnx"));
    ASSERT_TRUE(written.ok()) << written.message();
  }
  ExpectRight(folder);
}

TEST(OnnxTest, RecurrentLayersAreExportedAsWhatTheyCompute) {
  const TemporaryFolder folder;
  ExportLayer(folder, "lstm", Lstm(5), {6, 3});
  ExportLayer(folder, "lstm_without_bias", Lstm(5, {.bias = false}), {6, 3});
  ExportLayer(folder, "lstm_both_ways", Lstm(4, {.layers = 2, .bidirectional = true}), {5, 3});
  ExportLayer(folder, "gru", Gru(5), {6, 3});
  ExportLayer(folder, "gru_both_ways", Gru(4, {.layers = 2, .bidirectional = true}), {5, 3});
  ExportLayer(folder, "last_step", Sequential(Gru(5), LastStep(), Linear(2)), {6, 3});
  ExportLayer(folder, "last_step_both_ways",
              Sequential(Lstm(5, {.bidirectional = true}), LastStep({.bidirectional = true})),
              {6, 3});
  ExpectRight(folder);
}

TEST(OnnxTest, LayerNormInTheRecurrenceIsRefused) {
  const TemporaryFolder folder;
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Sequential(Lstm(4, {.norm = RecurrentOptions::Norm::kLayer})),
                              {.input = {2, 5, 3}})
                    .value();
  const Status status = ExportOnnx(net, folder / "m.onnx");
  EXPECT_THAT(status.message(), HasSubstr("no layer norm in the recurrence"));
  EXPECT_EQ(folder.files(), 0);
}

TEST(OnnxTest, NetworksAreExportedAsWhatTheyComputeHoweverTheyWereFused) {
  const TemporaryFolder folder;
  int number = 0;
  for (const networks::Model& model : networks::Models()) {
    std::string name = std::to_string(++number) + " " + model.name;
    for (char& c : name) {
      if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
    }
    for (const bool fold : {false, true}) {
      ExportWithNumbers(folder, name + (fold ? "_folded" : ""),
                        std::make_unique<Sequential>(model.make()), model.sample,
                        {.fold_norms = fold});
    }
  }
  ExpectRight(folder);
}

TEST(OnnxTest, TheInputIsStandardisedWhereAskedFor) {
  const TemporaryFolder folder;
  const Standardizer standardizer =
      Standardizer::FromVectors({0.5f, -2.0f, 30.0f}, {1.5f, 0.25f, 0.0f}).value();
  for (const bool missing : {false, true}) {
    ExportWithNumbers(folder, missing ? "missing" : "whole",
                      std::make_unique<Sequential>(Linear(4), BatchNorm(), Relu(), Linear(2)), {3},
                      {.fold_norms = true, .standardizer = &standardizer, .missing = missing});
  }
  ExpectRight(folder);
}

TEST(OnnxTest, AFoldedModelHasNoBatchNormAndKeepsTheNames) {
  const TemporaryFolder folder;
  const auto text = [&](bool fold) {
    ExportWithNumbers(folder, "m",
                      std::make_unique<Sequential>(Linear(4), BatchNorm(), Relu(), Linear(2)), {3},
                      {.fold_norms = fold});
    return Slurp(folder / "m.onnx");
  };
  EXPECT_THAT(text(false), HasSubstr("BatchNormalization"));
  EXPECT_THAT(text(false), HasSubstr("1.running_var"));
  EXPECT_THAT(text(true), Not(HasSubstr("BatchNormalization")));
  EXPECT_THAT(text(true), HasSubstr("0.weight"));
  EXPECT_EQ(text(true), text(true));
}

// Its operation says nothing about how to write it down.
class DoubledOperation final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {x[0]}};
  }
  void Forward(const Step&, const Operands& o) override {
    for (int64_t i = 0; i < o.y().size(); ++i) o.y_f32()[i] = 2.0f * o.x_f32(0)[i];
  }
};

class Doubled final : public Layer {
 public:
  std::string kind() const override { return "Doubled"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    return graph.Add(DoubledOperation(), {x});
  }
};

TEST(OnnxTest, ALayerThatCannotBeExportedIsNamedAndNoFileIsLeft) {
  const TemporaryFolder folder;
  Context ctx({.threads = 1});
  Network net =
      Network::Bind(ctx, Sequential(Linear(4), Sequential(Relu(), Doubled())), {.input = {2, 3}})
          .value();
  const Status status = ExportOnnx(net, folder / "m.onnx");
  EXPECT_THAT(status.message(), HasSubstr("layer 1.1 Doubled cannot be exported"));
  EXPECT_EQ(folder.files(), 0);
}

TEST(OnnxTest, StatisticsOfOtherFeaturesAreRefused) {
  const TemporaryFolder folder;
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Sequential(Linear(4)), {.input = {2, 3}}).value();
  const Standardizer standardizer = Standardizer::FromVectors({0.5f}, {1.5f}).value();
  const Status status = ExportOnnx(net, folder / "m.onnx", {.standardizer = &standardizer});
  EXPECT_THAT(status.message(), HasSubstr("1 features"));
}

// ---- Our layers against the numbers that come with ONNX ----------------------------------------

// (N, C, rest) to (N, rest, C), or back.
std::vector<float> ChannelsLast(const ConstTensor x) {
  const int64_t n = x.shape()[0], c = x.shape()[1], rest = x.size() / (n * c);
  std::vector<float> y(static_cast<size_t>(x.size()));
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t sample = i / (c * rest), channel = i / rest % c, place = i % rest;
    y[static_cast<size_t>((sample * rest + place) * c + channel)] = x.f32()[i];
  }
  return y;
}

class Vectors : public ::testing::Test {
 protected:
  void SetUp() override {
    ran_ = Check("--cases " + folder_.path() +
                 " test_relu test_leakyrelu test_leakyrelu_example test_leakyrelu_default "
                 "test_sigmoid test_tanh test_softplus test_gemm_transposeB test_batchnorm_example "
                 "test_batchnorm_epsilon test_instancenorm_example test_instancenorm_epsilon "
                 "test_layer_normalization_2d_axis_negative_1 "
                 "test_layer_normalization_3d_axis_negative_1_epsilon "
                 "test_layer_normalization_4d_axis_negative_1");
    SKIP_WITHOUT_ONNX(ran_);
    ASSERT_EQ(ran_.code, 0) << ran_.out;
  }

  NpyArray Read(const std::string& name) {
    Result<NpyArray> array = ReadNpy(folder_ / (name + ".npy"));
    EXPECT_TRUE(array.ok()) << array.status().message();
    return std::move(array).value();
  }

  // Input 1, 2, ... of the case go to `into`, parameters and states of the layer.
  template <class L>
  void Expect(const std::string& name, L layer, const std::vector<std::string>& into,
              bool channels_last = false) {
    SCOPED_TRACE(name);
    const NpyArray x_file = Read(name + ".0"), y_file = Read(name + ".y");
    ConstTensor x = x_file.tensor.view(), want = y_file.tensor.view();
    std::vector<float> moved_x, moved_y;
    if (channels_last) {
      moved_x = ChannelsLast(x);
      moved_y = ChannelsLast(want);
      const Shape last{x.shape()[0], x.size() / (x.shape()[0] * x.shape()[1]), x.shape()[1]};
      x = {moved_x.data(), last};
      want = {moved_y.data(), last};
    }
    LayerRunner runner(std::make_unique<L>(std::move(layer)), x.shape());
    ASSERT_TRUE(runner.status().ok()) << runner.status().message();
    for (size_t i = 0; i < into.size(); ++i) {
      const NpyArray file = Read(name + "." + std::to_string(i + 1));
      std::span<float> place = runner.value(into[i]);
      if (place.empty()) place = runner.state(into[i]);
      const std::span<const float> values = file.tensor.view().span<float>();
      ASSERT_EQ(place.size(), values.size()) << into[i];
      std::copy(values.begin(), values.end(), place.begin());
    }
    const std::vector<float> y =
        runner.Forward(x.span<float>(), x.shape(), testing::Mode::kEvaluate);
    ASSERT_EQ(static_cast<int64_t>(y.size()), want.size());
    for (size_t i = 0; i < y.size(); ++i) {
      // A handful of roundings each, at values of a few units.
      EXPECT_NEAR(y[i], want.f32()[i], 2e-6) << i;
    }
  }

 private:
  TemporaryFolder folder_;
  Ran ran_;
};

TEST_F(Vectors, OfOnnxAreWhatOurLayersGive) {
  if (IsSkipped()) return;
  Expect("test_relu", Relu(), {});
  Expect("test_leakyrelu", LeakyRelu(0.1f), {});
  Expect("test_leakyrelu_example", LeakyRelu(0.1f), {});
  Expect("test_leakyrelu_default", LeakyRelu(), {});
  Expect("test_sigmoid", Sigmoid(), {});
  Expect("test_tanh", Tanh(), {});
  Expect("test_softplus", Softplus(), {});
  Expect("test_gemm_transposeB", Linear(4), {"weight", "bias"});
  const std::vector<std::string> norm = {"weight", "bias", "running_mean", "running_var"};
  Expect("test_batchnorm_example", BatchNorm(), norm, true);
  Expect("test_batchnorm_epsilon", BatchNorm({.eps = 1e-2}), norm, true);
  const std::vector<std::string> affine = {"weight", "bias"};
  Expect("test_instancenorm_example", InstanceNorm({.affine = true}), affine, true);
  Expect("test_instancenorm_epsilon", InstanceNorm({.eps = 1e-2, .affine = true}), affine, true);
  Expect("test_layer_normalization_2d_axis_negative_1", LayerNorm(), affine);
  Expect("test_layer_normalization_3d_axis_negative_1_epsilon", LayerNorm({.eps = 0.1}), affine);
  Expect("test_layer_normalization_4d_axis_negative_1", LayerNorm(), affine);
}

}  // namespace
}  // namespace lockstep
