"""The same training as `fit`, by hand: forward, loss, backward, step. For looking inside, and for loops of your own."""

import numpy as np

import fastnn
from fastnn.layers import Dense, Flatten, Input

(x_train, y_train), (x_test, y_test) = fastnn.datasets.digits.load_data()
x_train, x_test = x_train / 16.0, x_test / 16.0

fastnn.config.set_seed(0)
model = fastnn.Sequential([Input((8, 8)), Flatten(), Dense(64, activation="relu"), Dense(10)])
loss = fastnn.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = fastnn.optimizers.Adam(learning_rate=0.01)
optimizer.build(model.store)

rng = np.random.default_rng(0)
for epoch in range(10):
    order = rng.permutation(len(x_train))
    total = 0.0
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        y = model.forward(x_train[batch], training=True)
        total += loss.forward(y_train[batch], y) * len(batch)
        model.backward(loss.backward())
        optimizer.step()
    accuracy = (model.predict(x_test, verbose=0).argmax(1) == y_test).mean()
    print(f"epoch {epoch + 1}: loss {total / len(order):.4f}, test accuracy {accuracy:.4f}")
