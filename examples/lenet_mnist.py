"""LeNet on MNIST: two convolutions with pooling, three dense layers; about 0.99 after five epochs."""

from fastnn import Sequential, callbacks
from fastnn.datasets import mnist
from fastnn.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train, x_test = x_train[..., None] / 255.0, x_test[..., None] / 255.0

model = Sequential(
    [
        Input((28, 28, 1)),
        Conv2D(6, 5, padding="same", activation="relu"),
        MaxPooling2D(2),
        Conv2D(16, 5, activation="relu"),
        MaxPooling2D(2),
        Flatten(),
        Dense(120, activation="relu"),
        Dense(84, activation="relu"),
        Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(
    x_train,
    y_train,
    batch_size=64,
    epochs=5,
    validation_split=0.1,
    callbacks=[callbacks.EarlyStopping(patience=2, restore_best_weights=True)],
)
print("test loss and accuracy:", model.evaluate(x_test, y_test, verbose=0))
model.save("lenet.fastnn")
