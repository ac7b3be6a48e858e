#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "engine/data/image/idx.h"
#include "engine/io/file.h"
#include "engine/train/predictor.h"
#include "models/recipe_saved.h"
#include "tools/command/commands.h"
#include "tools/command/run_folder.h"

namespace lockstep::tools {
namespace {

constexpr int64_t kBatch = 1024;

// Images as the model was trained on them: pixels that are bytes are scaled as its recipe says.
Result<std::vector<float>> LoadImages(const std::string& path, const SavedModel& model) {
  LOCKSTEP_TRY_ASSIGN(IdxArray images, LoadIdx(path));
  const auto* pixels = std::get_if<std::vector<uint8_t>>(&images.elements);
  const int64_t count = images.shape[0];
  const Shape& wanted = model.samples.x_shape;
  if (pixels == nullptr || images.shape.size() / count != wanted.size()) {
    return Status::Invalid(path + ": it holds " + images.shape.ToString() +
                           (pixels == nullptr ? " numbers that are no bytes" : "") +
                           ", the model takes images of " + wanted.ToString() + " bytes");
  }
  // As when training: by way of a dataset, so that the same bits arrive.
  std::vector<float> no_targets(static_cast<size_t>(count));
  DatasetInfo info{.name = path, .size = count, .x_shape = wanted};
  SetTargets(Task::kRegression, 1, info);
  LOCKSTEP_TRY_ASSIGN(const auto dataset,
                      InMemoryDataset::Make(std::move(info), *pixels, std::move(no_targets),
                                            ByteScale::Standardized(model.recipe.data.pixel_mean,
                                                                    model.recipe.data.pixel_sd)));
  std::vector<float> x(static_cast<size_t>(count * wanted.size()));
  LOCKSTEP_TRY(
      dataset->Gather(AllIndices(count), Tensor(x.data(), dataset->XShape(count)), Tensor()));
  return x;
}

Result<std::vector<float>> LoadSamples(const std::string& path, const SavedModel& model) {
  if (model.samples.x_shape.rank() > 1) return LoadImages(path, model);
  LOCKSTEP_TRY_ASSIGN(CsvFeatures table, LoadCsvFeatures(path, CsvFeatureOptionsOf(model)));
  return std::move(table.x);
}

std::string CsvField(const std::string& text, char delimiter) {
  if (text.find_first_of(std::string("\"\r\n") + delimiter) == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

// A line for the header, then one for each sample, as its predictions are to be read:
//   kPositive   class, the probability of the positive class
//   kOneOf      class, the probability of each class
//   kValues     the value, or values
class Writer {
 public:
  Writer(const SavedModel& model, int64_t columns)
      : reading_(ObjectiveOf(model.samples.task).reading),
        delimiter_(model.recipe.data.delimiter.front()) {
    const std::vector<std::string>& names = model.samples.class_names;
    for (int64_t c = 0; c < ClassCount(model.samples); ++c) {
      names_.push_back(
          CsvField(names.empty() ? std::to_string(c) : names[static_cast<size_t>(c)], delimiter_));
    }
    const auto column = [&](const std::string& text) {
      if (!out_.empty()) out_ += delimiter_;
      out_ += text;
    };
    const auto probability = [&](size_t c) {
      const std::string& name = names.empty() ? names_[c] : names[c];
      column(CsvField("probability of " + name, delimiter_));
    };
    if (reading_ == Reading::kValues) {
      for (int64_t c = 0; c < columns; ++c)
        column(columns == 1 ? "value" : "value " + std::to_string(c));
    } else {
      column("class");
      for (size_t c = reading_ == Reading::kPositive ? 1 : 0; c < names_.size(); ++c)
        probability(c);
    }
    out_ += '\n';
  }

  void Add(std::span<const float> y) {
    if (const int64_t predicted = PredictedClass(reading_, y); predicted >= 0) {
      out_ += names_[static_cast<size_t>(predicted)];
      out_ += delimiter_;
    }
    for (size_t i = 0; i < y.size(); ++i) {
      if (i > 0) out_ += delimiter_;
      fmt::format_to(std::back_inserter(out_), "{}", y[i]);
    }
    out_ += '\n';
  }

  const std::string& text() const { return out_; }

 private:
  Reading reading_;
  char delimiter_;
  std::vector<std::string> names_;  // as fields
  std::string out_;
};

}  // namespace

Status Predict(const PredictArgs& args) {
  const std::string path = ModelFile(args.model);
  LOCKSTEP_TRY_ASSIGN(const SavedModel model, ReadSavedModel(path, args.overrides));
  LOCKSTEP_TRY_ASSIGN(const std::vector<float> x, LoadSamples(args.input, model));
  const int64_t width = model.samples.x_shape.size();
  const int64_t rows = static_cast<int64_t>(x.size()) / width;
  const int64_t batch = std::min(rows, kBatch);

  Context ctx({.threads = static_cast<int>(model.recipe.train.threads)});
  Result<Network> built = BuildNetwork(ctx, model, batch);
  if (!built.ok()) return built.status().At(path);
  Network& network = *built;
  Result<Predictor> made = Predictor::Make(network, model.samples.task, model.standardizer);
  if (!made.ok()) return made.status().At(path);
  Predictor& predictor = *made;

  const int64_t columns = network.output_shape().sample_size();
  std::vector<float> y(static_cast<size_t>(batch * columns));
  Writer writer(model, columns);
  for (int64_t row = 0; row < rows; row += batch) {
    const int64_t count = std::min(batch, rows - row);
    LOCKSTEP_TRY(
        predictor.Run(ConstTensor(x.data() + row * width, network.input_shape().WithBatch(count)),
                      Tensor(y.data(), network.output_shape().WithBatch(count))));
    for (int64_t i = 0; i < count; ++i) {
      writer.Add(
          std::span(y).subspan(static_cast<size_t>(i * columns), static_cast<size_t>(columns)));
    }
  }
  if (!args.output.empty()) return WriteFileAtomically(args.output, writer.text());
  const std::string& text = writer.text();
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    return Status::Io("the predictions cannot be printed; give a file with -o");
  return Status::Ok();
}

}  // namespace lockstep::tools
