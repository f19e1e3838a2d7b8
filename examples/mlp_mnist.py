"""The multi-layer perceptron of the course notes on MNIST: 784-300-200-100-10.

Needs the MNIST files in $FASTNN_DATA/mnist/, in the cache, or `pip install fastnn[data]` and a network connection.
"""

from fastnn.datasets import mnist
from fastnn.layers import Dense, Flatten
from fastnn.models import Sequential

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train, x_test = x_train / 255.0, x_test / 255.0
x_valid, y_valid = x_train[50000:], y_train[50000:]
x_train, y_train = x_train[:50000], y_train[:50000]

model = Sequential(
    [
        Flatten(input_shape=x_train.shape[1:]),
        Dense(units=300, activation="relu"),
        Dense(units=200, activation="relu"),
        Dense(units=100, activation="relu"),
        Dense(units=10, activation="softmax"),
    ]
)
model.summary()
model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
train = model.fit(x_train, y_train, epochs=20, validation_data=(x_valid, y_valid))
print("test loss and accuracy:", model.evaluate(x_test, y_test, verbose=0))
