// How the samples of a recipe are split: at random, by class, by group, by time, into folds.
#ifndef LOCKSTEP_MODELS_RECIPE_SPLIT_H_
#define LOCKSTEP_MODELS_RECIPE_SPLIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/split.h"
#include "engine/data/table/table.h"
#include "models/recipe.h"

namespace lockstep::inline v0_1 {

// What the columns of class, group (data.group) and time (data.time, where data.split asks for it)
// say of the rows of a table. Groups are numbered as they first come. An error names key and row:
// one without a time.
Result<SplitKeys> KeysOf(const Table& table, const Recipe::Data& data);  // recipe_table_keys.cc

// Whether the column that the description gives the role of weights holds what weights can be:
// numbers from 0, of which one is above. Errors name key, row and value.
Status CheckWeights(const Table& table, const Recipe::Data& data);  // recipe_table_keys.cc

// The classes of the samples, where each has one.
Result<SplitKeys> ClassKeys(const Dataset& dataset);
// How many of the samples have each class; empty: they have none.
Result<std::vector<int64_t>> ClassCounts(const Subset& samples);

// `has_test`: there is a test set of its own, so that no sample is held back for one. With
// data.folds one fold is, all the same. Errors name the keys.
Result<Splits> SplitSamples(int64_t size, const SplitKeys& keys, const Recipe::Data& data,
                            bool has_test);

// What the user should be told of data.folds: that a test set is not used, that one fold stands for
// all.
std::vector<std::string> FoldRemarks(const Recipe::Data& data, bool has_test);

// An error where data.split, data.folds or data.group ask for what these samples cannot have:
// those that come in an order of their own (a text, a series), or without `keys`; or where
// data.folds is 1.
Status CheckSplitKind(const Recipe::Data& data, bool in_order, const SplitKeys& keys);

// An error where data.folds asks for folds of samples with several answers each, which are not put
// together over folds.
Status CheckFolds(const Recipe::Data& data, const DatasetInfo& info);

// Rows that are there twice, in the words for a user: in training and in test or validation, or
// with two different labels. None where samples are no rows of a table. Errors: a failing Gather.
Result<std::vector<std::string>> RepeatedRowRemarks(const RecipeData& data);

// Of loss.balanced: sets loss.class_weights or loss.pos_weight by the training samples, such that
// every class weighs as much as any other: n / (classes n_c), as sklearn's "balanced"; of two
// classes with one output the weight of positives is n_0 / n_1, which is the same up to a factor.
// The result is what the user should be told; empty where nothing is asked. Errors: no classes, or
// one without training samples.
Result<std::string> BalanceClasses(const RecipeData& data, Recipe::Loss& loss);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_SPLIT_H_
