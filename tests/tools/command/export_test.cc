// `lockstep export` and `lockstep inspect`: a model for other programs, and what is in a file.
#include <cmath>
#include <sstream>
#include <string>

#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

class Export : public Program {
 protected:
  void Train() {
    const Ran ran = Run("train " LOCKSTEP_SOURCE_DIR
                        "/models/recipes/clinical.toml data.size=500 train.epochs=1 "
                        "output.folder=run");
    ASSERT_EQ(ran.code, 0) << ran.out;
  }
  bool Says(const std::string& arguments, const std::string& part) {
    const Ran ran = Run(arguments);
    EXPECT_EQ(ran.code, 0) << ran.out;
    return ran.out.find(part) != std::string::npos;
  }
};

TEST_F(Export, WritesOnnxFromAModelFileAlone) {
  Train();
  fs::rename(folder_ / "run/model.safetensors", folder_ / "m.safetensors");
  fs::remove_all(folder_ / "run");
  EXPECT_TRUE(Says("export m.safetensors m.onnx", "x (batch, 20) to y (batch, 1)"));
  EXPECT_NE(Read("m.onnx").find("BatchNormalization"), std::string::npos);
  EXPECT_EQ(Read("m.onnx").find("data.mean"), std::string::npos);
  EXPECT_TRUE(Says("export m.safetensors m.onnx --fold --standardize", "3649 parameters"));
  EXPECT_EQ(Read("m.onnx").find("BatchNormalization"), std::string::npos);
  EXPECT_NE(Read("m.onnx").find("data.mean"), std::string::npos);
}

TEST_F(Export, WritesTheWeightsAloneUnderTheNamesOfPyTorch) {
  Train();
  EXPECT_TRUE(Says("export run w.safetensors", "3649 parameters"));
  const Ran ran = Run("inspect w.safetensors");
  EXPECT_EQ(ran.code, 0);
  EXPECT_NE(ran.out.find("16 tensors"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("1.num_batches_tracked  I64"), std::string::npos) << ran.out;
  EXPECT_EQ(ran.out.find("data.mean"), std::string::npos) << ran.out;
}

TEST_F(Export, ImportMakesAModelOfWeightsAlone) {
  Train();
  ASSERT_EQ(Run("export run w.safetensors").code, 0);
  EXPECT_TRUE(Says("import " LOCKSTEP_SOURCE_DIR
                   "/models/recipes/clinical.toml w.safetensors m.safetensors data.size=500",
                   "3649 parameters; features are standardised"));
  const auto hash = [&](const std::string& model) {
    const std::string out = Run("inspect " + model).out;
    return out.substr(out.find("parameter_hash="), 31);
  };
  EXPECT_EQ(hash("m.safetensors"), hash("run"));
  EXPECT_EQ(Run("eval m.safetensors").out, Run("eval run").out);
}

TEST_F(Export, TrainingStartsFromWeights) {
  const std::string recipe =
      "train " LOCKSTEP_SOURCE_DIR "/models/recipes/clinical.toml data.size=500 train.epochs=1 ";
  Train();
  ASSERT_EQ(Run("export run w.safetensors").code, 0);
  ASSERT_EQ(Run(recipe + "model.weights=w.safetensors output.folder=theirs").code, 0);
  ASSERT_EQ(Run(recipe + "model.weights=run/model.safetensors output.folder=ours").code, 0);
  const auto first = Summary("run"), theirs = Summary("theirs"), ours = Summary("ours");
  EXPECT_LT(theirs["train"]["loss"], first["train"]["loss"]);
  EXPECT_EQ(theirs["parameter_hash"], ours["parameter_hash"]);

  ExpectFails("train " LOCKSTEP_SOURCE_DIR
              "/models/recipes/clinical.toml data.size=500 model.hidden=[8] "
              "model.weights=w.safetensors output.folder=no",
              "w.safetensors: ");
  ExpectFails(recipe + "model.weights=nothing output.folder=no", "nothing: cannot open");
  EXPECT_FALSE(fs::exists(folder_ / "no"));
}

TEST_F(Export, SaysWhatIsWrongAndLeavesNoFile) {
  Train();
  ExpectFails("export run out.bin", "the ending says the format");
  ExpectFails("export run out.safetensors --fold", "for .onnx files");
  ExpectFails("export run no/folder.onnx", "no/folder.onnx: cannot write");
  ExpectFails("export nothing out.onnx", "nothing: cannot open");
  ASSERT_EQ(Run("train " LOCKSTEP_SOURCE_DIR "/models/recipes/clinical.toml data.size=500 "
                "train.epochs=1 data.standardize=false output.folder=raw")
                .code,
            0);
  ExpectFails("export raw out.onnx --standardize", "statistics that the model has none of");
  EXPECT_FALSE(fs::exists(folder_ / "out.onnx"));
}

TEST_F(Export, InspectShowsACheckpointWithTheHashOfItsRun) {
  Train();
  const std::string hash = Summary("run")["parameter_hash"];
  EXPECT_TRUE(Says("inspect run", "parameter_hash=" + hash));
  EXPECT_TRUE(Says("inspect run", "checksum right"));
  EXPECT_TRUE(Says("inspect run/model.safetensors", "0.weight"));
  EXPECT_TRUE(Says("inspect run", "[model]"));
}

TEST_F(Export, InspectCountsWhatIsNotFinite) {
  // As NumPy writes it.
  std::string npy = "\x93NUMPY";
  npy += std::string("\x01\x00\x76\x00", 4);
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }";
  header.resize(117, ' ');
  npy += header + "\n";
  const float values[] = {1.0f, -3.0f, NAN, INFINITY};
  npy.append(reinterpret_cast<const char*>(values), sizeof(values));
  Write("a.npy", npy);
  const Ran ran = Run("inspect a.npy");
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_NE(ran.out.find("NPY array"), std::string::npos) << ran.out;
  const std::string row = ran.out.substr(ran.out.find("array  "));
  // min -3, mean -1, max 1, rms sqrt(5), one NaN and one infinity
  std::istringstream cells(row);
  std::string name, type, shape, min, mean, max, rms, nans, infinities;
  cells >> name >> type >> shape >> min >> mean >> max >> rms >> nans >> infinities;
  EXPECT_EQ(type + shape, "F32(4)") << ran.out;
  EXPECT_EQ(min + " " + mean + " " + max + " " + rms, "-3 -1 1 2.236") << ran.out;
  EXPECT_EQ(nans + " " + infinities, "1 1") << ran.out;
}

TEST_F(Export, InspectRefusesDamagedFilesWithOneLine) {
  Train();
  const std::string whole = Read("run/model.safetensors");
  for (const size_t size : {size_t{0}, size_t{5}, size_t{8}, size_t{100}, whole.size() - 1}) {
    Write("cut", whole.substr(0, size));
    ExpectFails("inspect cut", "cut");
  }
  std::string flipped = whole;
  flipped[flipped.size() - 3] ^= 1;
  Write("flipped", flipped);
  ExpectFails("inspect flipped", "checksum");
  Write("huge", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  ExpectFails("inspect huge", "huge");
  Write("text", "hello, this is no tensor file\n");
  ExpectFails("inspect text", "text");
}

}  // namespace
}  // namespace lockstep::tools
