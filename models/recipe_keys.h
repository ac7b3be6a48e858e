// The one list of all recipe keys: what reads, checks, overrides and prints recipes goes through
// it.
#ifndef LOCKSTEP_MODELS_RECIPE_KEYS_H_
#define LOCKSTEP_MODELS_RECIPE_KEYS_H_

#include <string>
#include <vector>

#include "engine/data/objective.h"
#include "models/recipe.h"

namespace lockstep::inline v0_1 {

// The choices of tables that live beside what they build.
KeyLimits DataKinds();       // recipe_data.cc
KeyLimits CsvHeaders();      // recipe_data.cc
KeyLimits CsvTasks();        // recipe_data.cc
KeyLimits CsvEncodings();    // recipe_table.cc
KeyLimits CsvMissing();      // recipe_table.cc
KeyLimits PictureFits();     // recipe_pictures.cc
KeyLimits PictureCrops();    // recipe_pictures.cc
KeyLimits PictureEdges();    // recipe_pictures.cc
KeyLimits BadKinds();        // recipe_pictures.cc
KeyLimits TokenizerKinds();  // recipe_text.cc
KeyLimits SplitKinds();      // recipe_split.cc
KeyLimits LossKinds();       // recipe_build.cc
KeyLimits OptimizerKinds();  // recipe_build.cc
KeyLimits ScheduleKinds();   // recipe_build.cc
KeyLimits LastBatches();     // recipe_build.cc
KeyLimits Monitors();        // recipe_build.cc
KeyLimits Wires();           // recipe_build.cc
KeyLimits Calibrations();    // recipe_decision.cc
KeyLimits Thresholds();      // recipe_decision.cc

// What was read from where the key `key` says; an error names it.
template <class T>
Result<T> Under(const std::string& key, Result<T> result) {
  if (result.ok()) return result;
  return result.status().At(key);
}

// What data.header says; nothing: auto.
Result<std::optional<bool>> CsvHeaderOf(const Recipe::Data& data);  // recipe_data.cc
// Of data.task, where that is not auto.
Result<Task> TaskNamed(const std::string& name);  // recipe_data.cc
// One character, "tab", "none" ('\0'), or "auto" for what is found by looking: nothing.
Result<std::optional<char>> LetterOf(const std::string& key,
                                     const std::string& text);  // recipe_table.cc
// What data.delimiter says, where nobody looks: a comma for auto.
char DelimiterOf(const Recipe::Data& data);  // recipe_data.cc

// How many threads the run may use.
int CoresOf(const Recipe& recipe);  // recipe_build.cc

// The names of all keys, those of every family included.
std::vector<std::string> AllRecipeKeys();

// Calls visit(key, member, limits, meaning) for every key of `r` and of its family, grouped by
// table, in the order a reader wants them.
template <class R, class Visit>
void VisitKeys(R& r, Visit&& visit) {
  visit(
      "data.kind", r.data.kind, DataKinds(),
      "clinical and digits are made by code; csv reads data.path; mnist reads the four IDX files "
      "in the folder data.path, cifar10 the binary ones; images reads pictures from its "
      "subfolders, one for each class; npy reads pictures and labels from two files; text reads a "
      "text file, tokens a file of numbers, both to tell what comes next; text_table reads a csv "
      "file of documents and labels, series one whose rows follow each other in time; sums are "
      "made by code");
  visit(
      "data.path", r.data.path, KeyLimits{},
      "file (csv, npy, text, tokens, text_table, series) or folder (mnist, cifar10, images; text: "
      "of .txt files); relative to where the program runs");
  visit(
      "data.test_path", r.data.test_path, KeyLimits{},
      "csv, images, texts, series: a file or folder of its own for testing, instead of data.test");
  visit("data.label_path", r.data.label_path, KeyLimits{}, "npy: the file of labels");
  visit("data.label", r.data.label, KeyLimits{},
        "csv, text_table, series: the column to predict, by name or number from 0 (-1: the last)");
  visit("data.ignore", r.data.ignore, KeyLimits{},
        "csv, series: columns to leave out, by name or number");
  visit("data.header", r.data.header, CsvHeaders(),
        "csv, text_table, series: whether the first row holds names; tokens: no is for a .bin file "
        "of uint16 without a header");
  visit("data.delimiter", r.data.delimiter, KeyLimits{},
        "csv, text_table, series: one character between columns, \" \" for runs of blanks, tab "
        "(auto: found by looking)");
  visit("data.encoding", r.data.encoding, CsvEncodings(),
        "csv, text_table, series: of the file's text; latin1 as Windows has it (auto: found by "
        "looking, UTF-16 too)");
  visit("data.quote", r.data.quote, KeyLimits{},
        "csv, text_table, series: around texts (auto: found by looking)");
  visit("data.decimal", r.data.decimal, KeyLimits{},
        "csv, series: in front of the decimals of a number (auto: found by looking)");
  visit("data.thousands", r.data.thousands, KeyLimits{},
        "csv, series: between groups of three digits (auto: found by looking; none)");
  visit("data.comment", r.data.comment, KeyLimits{},
        "csv, text_table, series: lines that begin with it are left out (auto: # or % in front of "
        "the table; none)");
  visit("data.types", r.data.types, KeyLimits{},
        "csv: what columns hold, where that is not what is found: \"town=category\", "
        "\"3=number\"; number, category, yes/no, date (\"date, day first\", \"date, month "
        "first\"), left out");
  visit("data.one_hot", r.data.one_hot, Between(0, 65536),
        "csv: categories of up to so many values are a feature for each, others an embedding");
  visit("data.weight", r.data.weight, KeyLimits{},
        "csv: a column, by name or number, with the weight of each row");
  visit("data.time", r.data.time, KeyLimits{},
        "csv: a column, by name or number, that says which rows came first");
  visit("data.task", r.data.task, CsvTasks(),
        "csv, text_table, series: what the label is (auto: csv: told by its values; text_table: "
        "classes; series: regression, the value data.horizon rows on)");
  visit("data.positive", r.data.positive, KeyLimits{},
        "binary: the label that counts as 1 (empty: the one that sorts last)");
  visit("data.missing", r.data.missing, CsvMissing(),
        "csv, series: what to do about a missing number: mean (of the training rows) takes its "
        "place, indicate adds a feature that says so, drop leaves the row out; csv: a missing "
        "category is one more category");
  visit("data.missing_texts", r.data.missing_texts, KeyLimits{},
        "csv, series: texts that stand for a missing value, beside the usual ones (NA, ?, ., ...)");
  visit("data.cache", r.data.cache, KeyLimits{},
        "csv: keep a binary copy of the table, which is quick to read again");
  visit("data.cache_folder", r.data.cache_folder, KeyLimits{},
        "csv: where that copy is (empty: beside the table)");
  visit("data.size", r.data.size, AtLeast(0),
        "clinical, digits: samples to make (0: 8000 patients; 10000 digits and 2000 to test)");
  visit("data.seed", r.data.seed, AtLeast(0), "clinical, digits, sums: seed of the samples");
  visit("data.validation", r.data.validation, Between(0, 0.9),
        "share of the samples held back to validate; of a text or series what is before data.test");
  visit(
      "data.test", r.data.test, Between(0, 0.9),
      "share of the samples held back to test, where there is no test set; of a text or series the "
      "end");
  visit("data.split", r.data.split, SplitKinds(),
        "csv: what is held back: samples at random (whole groups of data.group), or the latest by "
        "data.time");
  visit("data.folds", r.data.folds, Between(0, 1000),
        "cross-validation: so many folds, each held back to test in a run of its own, instead of "
        "data.test (0: none)");
  visit("data.fold", r.data.fold, Between(0, 1000),
        "data.folds: the one fold that is held back, from 1 (0: each in turn)");
  visit("data.split_seed", r.data.split_seed, AtLeast(0), "seed of the split");
  visit("data.subgroups", r.data.subgroups, KeyLimits{},
        "csv: columns, by name or number, by whose values results are told group by group");
  visit("data.standardize", r.data.standardize, KeyLimits{},
        "features to mean 0 and deviation 1, measured on the training samples");
  visit("data.pixel_mean", r.data.pixel_mean, Between(-1, 2),
        "digits, mnist, npy: subtracted from pixels in [0, 1]; with [augment] or data.picture_size "
        "data.mean instead");
  visit("data.pixel_sd", r.data.pixel_sd, Between(1e-6, 1e6),
        "digits, mnist, npy: pixels are divided by it after that");
  visit(
      "data.mean", r.data.mean, Between(-1e6, 1e6),
      "pictures, with standardize: of each channel, white being 1 (empty: measured); weights that "
      "were trained elsewhere want those they were trained with");
  visit("data.sd", r.data.sd, Between(1e-6, 1e6), "likewise");
  visit("data.picture_size", r.data.picture_size, Between(0, 16384),
        "pictures: height and width that the network sees (0: as they are, if all are alike)");
  visit("data.fit", r.data.fit, PictureFits(),
        "pictures of another size: crop cuts the middle out, stretch changes proportions");
  visit("data.shorter_side", r.data.shorter_side, Between(0, 16384),
        "pictures, fit = crop: resized to this before a part is cut out (0: just large enough)");
  visit("data.channels", r.data.channels, Between(0, 3),
        "pictures: 1 grey, 3 colour (0: as they are)");
  visit("data.bad", r.data.bad, BadKinds(),
        "images: what to do about files that are no pictures; skip names and counts them");
  visit("data.cache_mb", r.data.cache_mb, AtLeast(0),
        "images: decoded pictures that are kept in memory");
  visit("data.prefetch", r.data.prefetch, Between(-1, 1024),
        "batches prepared ahead by a thread of the loader (-1: 2 for images, else none)");
  visit("data.tokenizer", r.data.tokenizer, TokenizerKinds(),
        "texts: what a token is (auto: bpe where there is data.tokenizer_path, else characters; "
        "tokens: none)");
  visit("data.tokenizer_path", r.data.tokenizer_path, KeyLimits{},
        "bpe: tokenizer.json, or a folder with it or with vocab.json and merges.txt; plain or .gz");
  visit("data.context", r.data.context, Between(1, 1 << 24),
        "texts: tokens that the network sees at once, series: rows");
  visit("data.windows", r.data.windows, AtLeast(0),
        "text, tokens: windows in an epoch, at places drawn anew (0: as many as fit side by side)");
  visit("data.vocabulary", r.data.vocabulary, Between(0, 2147483647),
        "tokens: how many different ones there are (0: as many as the tokenizer has)");
  visit("data.text", r.data.text, KeyLimits{},
        "text_table: the column of documents, by name or number from 0");
  visit("data.horizon", r.data.horizon, Between(1, 1 << 24),
        "series, regression: how many rows behind the window the value to predict is");
  visit("data.group", r.data.group, KeyLimits{},
        "a column, by name or number: csv: rows that are alike there (of one patient) are never on "
        "both sides of a split; series: they are a series of their own");
  visit("data.digits", r.data.digits, Between(1, 3), "sums: of each operand");

  visit("augment.crop", r.augment.crop, PictureCrops(),
        "training pictures: which part is cut out; random_resized takes a part of any size");
  visit("augment.pad", r.augment.pad, Between(0, 4096),
        "crop = random: pixels added around the picture first");
  visit("augment.edge", r.augment.edge, PictureEdges(), "what lies outside a picture");
  visit("augment.scale_low", r.augment.scale_low, Between(1e-4, 1),
        "crop = random_resized: smallest share of the area");
  visit("augment.scale_high", r.augment.scale_high, Between(1e-4, 1),
        "crop = random_resized: largest share of the area");
  visit("augment.flip", r.augment.flip, Between(0, 1), "probability of left for right");
  visit("augment.vertical_flip", r.augment.vertical_flip, Between(0, 1),
        "probability of top for bottom");
  visit("augment.rotation", r.augment.rotation, Between(0, 180), "degrees either way");
  visit("augment.brightness", r.augment.brightness, Between(0, 1),
        "changed by up to this share either way");
  visit("augment.contrast", r.augment.contrast, Between(0, 1), "likewise");
  visit("augment.cutout", r.augment.cutout, Between(0, 4096),
        "side of a square that is painted over (0: none)");
  visit("augment.mixup", r.augment.mixup, Between(0, 1000),
        "each picture and its class are mixed with another's, shares drawn from Beta(mixup, mixup) "
        "(0: none; 0.2 is usual); the mean loss is over samples then, also with class_weights");

  // Read before all others, because it decides which keys [model] has; here it is only checked.
  std::string kind = KindOf(r.model.family);
  visit("model.kind", kind, FamilyKinds(), "the family, which decides what other keys there are");
  visit("model.weights", r.model.weights, KeyLimits{},
        "safetensors file to start from instead: a model of Lockstep's, a run folder with one, "
        "or a state dict of PyTorch's; a last layer with another number of outputs begins anew");
  visit("model.freeze", r.model.freeze, KeyLimits{},
        "parameters that training does not change, by name: \"layer*\", \"conv1.*\"; batch norms "
        "among them keep their statistics");
  std::visit([&](auto& family) { family.VisitKeys(family, visit); }, r.model.family);

  visit("loss.kind", r.loss.kind, LossKinds(), "auto: what fits the task");
  visit("loss.label_smoothing", r.loss.label_smoothing, Between(0, 1), "cross_entropy");
  visit("loss.class_weights", r.loss.class_weights, AtLeast(0),
        "cross_entropy: one for each class (empty: ones)");
  visit("loss.pos_weight", r.loss.pos_weight, Between(0, 1e6),
        "bce: multiplies the loss of positives");
  visit("loss.balanced", r.loss.balanced, KeyLimits{},
        "bce, cross_entropy: every class counts as much as any other in the training samples; sets "
        "pos_weight, or class_weights");
  visit("loss.delta", r.loss.delta, Between(1e-30, 1e30), "huber: where it turns linear");
  visit("loss.quantiles", r.loss.quantiles, Between(0, 1),
        "quantile: which of each number are told; the median is the value, the outer ones are an "
        "interval");

  visit("optimizer.kind", r.optimizer.kind, OptimizerKinds(), "");
  visit("optimizer.learning_rate", r.optimizer.learning_rate, Between(0, 1e6),
        "the largest of the schedule");
  visit("optimizer.weight_decay", r.optimizer.weight_decay, Between(0, 1e6),
        "of weights; biases and norms only with decay_all");
  visit("optimizer.decay_all", r.optimizer.decay_all, KeyLimits{},
        "decay biases and the scales of norms as well");
  visit("optimizer.momentum", r.optimizer.momentum, Between(0, 1), "sgd");
  visit("optimizer.nesterov", r.optimizer.nesterov, KeyLimits{}, "sgd");
  visit("optimizer.beta1", r.optimizer.beta1, Between(0, 0.999999), "adam, adamw");
  visit("optimizer.beta2", r.optimizer.beta2, Between(0, 0.9999999), "adam, adamw");
  visit("optimizer.eps", r.optimizer.eps, Between(1.1e-19, 1),
        "adam, adamw: at least 3.5e-18 with beta2 = 0.999, see LeastAdamEps");
  visit("optimizer.clip_norm", r.optimizer.clip_norm, Between(0, 1e30),
        "largest global norm of the gradients (0: no clipping)");

  visit("schedule.kind", r.schedule.kind, ScheduleKinds(), "of the learning rate");
  visit("schedule.warmup_epochs", r.schedule.warmup_epochs, Between(0, 1e9),
        "cosine: linear rise at the start (in a run that is no longer: half of it)");
  visit("schedule.floor", r.schedule.floor, Between(0, 1),
        "cosine: share of the learning rate it ends at");
  visit("schedule.step_epochs", r.schedule.step_epochs, Between(1e-6, 1e9),
        "step: epochs between steps");
  visit("schedule.gamma", r.schedule.gamma, Between(0, 1), "step: factor of each step");
  visit("schedule.peak", r.schedule.peak, Between(0.001, 0.999),
        "one_cycle: share of the run that rises");

  visit("train.epochs", r.train.epochs, AtLeast(1), "times through the training samples");
  visit("train.batch", r.train.batch, AtLeast(1), "samples in a step");
  visit("train.last_batch", r.train.last_batch, LastBatches(),
        "what to do with a last batch that is not full");
  visit("train.micro_batches", r.train.micro_batches, AtLeast(1),
        "parts that each batch is computed in, to save memory");
  visit("train.seed", r.train.seed, AtLeast(0), "of initial weights, shuffling and dropout");
  visit("train.seeds", r.train.seeds, AtLeast(0),
        "a run of its own for each of these seeds (empty: one run, of train.seed)");
  visit("train.shards", r.train.shards, Between(1, 65536),
        "fixed ranges that a batch is summed in; ranks must divide it");
  visit("train.threads", r.train.threads, Between(0, 1023),
        "of each process; 0: all that may be used, shared with ranks beside it; changes no result");
  visit("train.give_up_after", r.train.give_up_after, Between(0, 1e9),
        "seconds that a rank waits for another one before the run ends (0: for ever)");
  visit(
      "train.wire", r.train.wire, Wires(),
      "how gradients travel between ranks: bf16 halves the bytes, and results depend on the ranks");
  visit("train.evaluate_every", r.train.evaluate_every, AtLeast(1), "epochs between validations");
  visit("train.monitor", r.train.monitor, Monitors(),
        "validation metric that decides what is best");
  visit("train.patience", r.train.patience, AtLeast(0),
        "stop after so many validations without a gain (0: never)");
  visit("train.keep_best", r.train.keep_best, KeyLimits{},
        "end with the weights of the best validation");
  visit("train.ema_decay", r.train.ema_decay, Between(0, 0.9999999),
        "moving average of the weights (0: none)");
  visit("train.calibrate", r.train.calibrate, Calibrations(),
        "classes: at the end of training, divide the network's outputs by the temperature that "
        "makes probabilities right on the validation samples");
  visit("train.threshold", r.train.threshold, Thresholds(),
        "binary: the probability above which a positive is said, chosen on the validation samples: "
        "half is 0.5; youden: recall and specificity together the largest; cost: false positives "
        "and train.false_negative_cost times false negatives the fewest; recall: train.recall "
        "reached with the fewest false positives");
  visit("train.false_negative_cost", r.train.false_negative_cost, Between(1e-6, 1e6),
        "threshold = cost: how many false positives one false negative is worth");
  visit("train.recall", r.train.recall, Between(1e-6, 1),
        "threshold = recall: share of the positives to find");

  visit("output.folder", r.output.folder, KeyLimits{},
        "where the run is written (empty: runs/ and the recipe's name, numbered)");
  visit("output.checkpoint_seconds", r.output.checkpoint_seconds, Between(0, 1e9),
        "seconds between checkpoints, within an epoch too (0: one at every step)");
  visit("output.keep_checkpoints", r.output.keep_checkpoints, Between(1, 1e6),
        "how many to keep: last.safetensors, and those before it by their step");
  visit("output.histograms", r.output.histograms, KeyLimits{},
        "weights and activations of every epoch go into the TensorBoard events as histograms");
  visit("output.report", r.output.report, KeyLimits{}, "write report.html at the end of the run");
}

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_KEYS_H_
